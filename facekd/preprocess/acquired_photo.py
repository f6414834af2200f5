"""The outcome of one of many photos: its crops, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from facekd.card import CropSpec
from facekd.geometry import Pixels

#: the reason of a photo that is listed but missing from the data; all others are those of `CannotSay` and
#: `InputOutput`
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class AcquiredPhoto:
    """A photo by its ``name`` in the list. ``crops`` uint8 RGB [S, S, 3] by spec are those that were to be
    kept; ``quality`` in [0, 1] is that of `preprocess.quality` if it was requested and a face was found
    (`None` for finished crops, whose faces are unknown); ``reason`` is one word that states why there is no
    crop, `None` if there is one."""

    name: str
    crops: Mapping[CropSpec, Pixels] = field(default_factory=dict, repr=False, compare=False)
    quality: float | None = None
    reason: str | None = None


def failures_of(photos: Iterable[AcquiredPhoto]) -> tuple[tuple[str, str], ...]:
    """The photos without a crop, each with the reason."""
    return tuple((photo.name, photo.reason) for photo in photos if photo.reason is not None)
