"""Faults of a photo that prevent an answer: darkness, blur and noise, each measured on its crop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from facekd.card import PhotoLimits
from facekd.errors import LowQuality, TooBlurred, TooDark, TooNoisy
from facekd.geometry import Pixels
from facekd.preprocess.face_quality import light, noise, sharpness


@dataclass(frozen=True)
class Fault:
    """``measure`` of a crop uint8 RGB [112, 112, 3] on the ArcFace template falls as the fault grows
    (or ``rises``); ``told`` describes it, with its limit."""

    error: type[LowQuality]
    measure: Callable[[Pixels], float]
    rises: bool
    told: str
    way_out: str

    @property
    def reason(self) -> str:
        return self.error.reason

    def is_beyond(self, value: float, limit: float) -> bool:
        return value > limit if self.rises else value < limit


FAULTS: tuple[Fault, ...] = (
    Fault(
        TooDark, light, False,
        "too dark: its brightest parts reach {value:.0f} of 255, at least {limit:.0f} are needed",
        "Take the photo in more light.",
    ),
    Fault(
        TooBlurred, sharpness, False,
        "too blurred: its sharpness is {value:.3f}, at least {limit:.3f} is needed",
        "Hold still, clean the lens, or move closer.",
    ),
    Fault(
        TooNoisy, noise, True,
        "too noisy: noise of {value:.1f} grey levels, at most {limit:.1f} is accepted",
        "Take the photo in more light, at a lower ISO setting.",
    ),
)  # fmt: skip


def beyond(crop: Pixels, limits: PhotoLimits | None) -> list[LowQuality]:
    """The ``limits`` of a model that the crop, uint8 RGB [112, 112, 3] on the ArcFace template, exceeds, each
    as the error that refuses the photo."""
    if limits is None:
        return []
    return measured_beyond(measure_faults(crop, {limit.reason for limit in limits.limits}), limits)


def measure_faults(crop: Pixels, reasons: Collection[str]) -> dict[str, float]:
    """The measures of the faults ``reasons`` on the crop, uint8 RGB [112, 112, 3]."""
    return {fault.reason: fault.measure(crop) for fault in FAULTS if fault.reason in reasons}


def measured_beyond(measures: Mapping[str, float], limits: PhotoLimits) -> list[LowQuality]:
    """As `beyond`, for a crop whose ``measures`` by reason are known."""
    known = {limit.reason: limit.limit for limit in limits.limits}
    found: list[LowQuality] = []
    for fault in FAULTS:
        limit = known.get(fault.reason)  # type: ignore[call-overload]
        if limit is not None and fault.is_beyond(value := measures[fault.reason], limit):
            found.append(fault.error(fault.told.format(value=value, limit=limit), fault.way_out))
    return found
