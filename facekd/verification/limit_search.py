"""Find how poor a photo may be, by degrading good crops of known people until the scores mislead.

A fault misleads at a threshold if, with the fault in both photos, different people match several times as
often as the threshold states; or if, with the fault in one photo, fewer than half of the mated comparisons
that match between good photos still match. The limit is between the last strength that does not mislead and
the first that does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP, Calibration, CropSpec, LandmarkCrop, PhotoLimit, PhotoLimits
from facekd.geometry import Pixels, recrop
from facekd.preprocess import FAULTS, Fault, blurred, darkened, noisy
from facekd.runtime import threaded
from facekd.verification.calibration import Conditions
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES

#: by how much the false match rate may exceed the stated one
MOST_FALSE = 3.0
#: share of the mated comparisons matching between good photos that must still match
FEWEST_KEPT = 0.5
#: photos that are tried, and of one person
MOST_PHOTOS, _OF_ONE = 500, 5
_BATCH = 32

Worse = Callable[[Pixels, int], Pixels]
Rows = NDArray[np.float32]
#: crops uint8 RGB [N, S, S, 3], as the model wants them, to unit rows float32 [N, D]
Embed = Callable[[NDArray[np.uint8]], Rows]


def _strengths(make: Callable[[Pixels, float, int], Pixels], *values: float) -> tuple[Worse, ...]:
    def at(value: float) -> Worse:
        return lambda crop, seed: make(crop, value, seed)

    return tuple(at(value) for value in values)


#: faults by reason, from mild to severe
TRIED: dict[str, tuple[Worse, ...]] = {
    "too_dark": _strengths(
        lambda crop, part, _: darkened(crop, 1 / part), 2, 3, 4, 6, 8, 12, 16, 24, 32
    ),
    "too_blurred": _strengths(lambda crop, sigma, _: blurred(crop, sigma), 1, 1.5, 2, 2.5, 3, 4, 5),
    "too_noisy": _strengths(noisy, 5, 10, 15, 20, 30, 40, 60),
}  # fmt: skip

#: how often each photo is embedded at most: as it is, and with each fault at each strength
MOST_TRIALS = 1 + sum(len(strengths) for strengths in TRIED.values())


def sampled(labels: Sequence[str | None]) -> list[int]:
    """Indices of the photos to try: of people in random (but fixed) order, a few each, at most 500 in all.
    ``labels`` are their people, `None` for photos without an embedding."""
    photos: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        if label is not None:
            photos.setdefault(label, []).append(place)
    random = np.random.default_rng(0)
    chosen: list[int] = []
    for person in random.permutation(len(photos)).tolist():
        chosen += photos[list(photos)[person]][:_OF_ONE]
    return sorted(chosen[:MOST_PHOTOS])


@dataclass(frozen=True)
class FoundLimits:
    """``limits`` at the threshold of ``entry``, found on ``photos`` photos."""

    limits: tuple[PhotoLimit, ...]
    entry: Calibration
    photos: int

    def for_card(self, conditions: Conditions) -> PhotoLimits | None:
        """The limits as a card states them; `None` if the ``conditions`` name no sample."""
        if conditions.sample is None:
            return None
        return PhotoLimits(
            limits=self.limits,
            fmr=self.entry.fmr,
            threshold=self.entry.threshold,
            photos=self.photos,
            **conditions.stated(),
        )


def find_limits(
    embed: Embed,
    spec: CropSpec,
    crops: Sequence[Pixels],
    labels: Sequence[str],
    entries: Sequence[Calibration],
) -> FoundLimits | str:
    """The limits of a model, ``embed`` of crops cut by ``spec``, found on ``crops`` uint8 RGB [112, 112, 3]
    of the people ``labels``, at the strictest of the calibration's ``entries`` for which there is enough data
    (30 expected false matches); or the reason why there are none."""
    if not isinstance(spec, LandmarkCrop):
        return "the model takes box crops, which cannot be made from a crop"
    trial = _Trial(embed, spec, list(crops), np.asarray(labels))
    shown = [e for e in entries if trial.non_mated * e.fmr >= FEWEST_FALSE_MATCHES]
    if not shown:
        return f"{trial.non_mated:,} non-mated comparisons among {len(crops)} photos are too few"
    entry = min(shown, key=lambda e: e.fmr)
    if trial.kept(trial.clean, entry.threshold) < 2 * FEWEST_FALSE_MATCHES:
        return f"fewer than {FEWEST_FALSE_MATCHES} of their mated comparisons match"
    limits = [trial.limit(fault, entry) for fault in FAULTS]
    return FoundLimits(tuple(limit for limit in limits if limit), entry, len(crops))


class _Trial:
    def __init__(
        self, embed: Embed, spec: LandmarkCrop, crops: list[Pixels], labels: NDArray[np.str_]
    ) -> None:
        self._embed_all, self._spec = embed, spec
        self._crops = crops
        same = labels[:, None] == labels
        # a photo is not compared with degraded copies of itself
        self._mated = same & ~np.eye(len(labels), dtype=bool)
        self._non_mated = ~same
        self.clean = self._embed(crops)

    @property
    def non_mated(self) -> int:
        """The number of comparisons between two photos, each counted once."""
        return int(self._non_mated.sum()) // 2

    def limit(self, fault: Fault, entry: Calibration) -> PhotoLimit | None:
        """The limit between two strengths; `None` if no strength misleads."""
        good = before = self._measured(fault, self._crops)
        for make in TRIED[fault.reason]:
            worse = [make(crop, seed) for seed, crop in enumerate(self._crops)]
            here = self._measured(fault, worse)
            if self._misleads(self._embed(worse), entry):
                between = sqrt(median(before) * median(here))
                refused = sum(fault.is_beyond(value, between) for value in good)
                return PhotoLimit(reason=fault.reason, limit=between, refused=refused)  # type: ignore[arg-type]
            before = here
        return None

    def _misleads(self, worse: Rows, entry: Calibration) -> bool:
        stated = max(entry.fmr, self._false(self.clean, entry.threshold))
        if self._false(worse, entry.threshold) > MOST_FALSE * stated:
            return True
        return self.kept(worse, entry.threshold) < FEWEST_KEPT * self.kept(self.clean, entry.threshold)

    def _false(self, rows: Rows, threshold: float) -> float:
        """The FMR if both photos are as bad as ``rows``."""
        return float(np.mean((rows @ rows.T)[self._non_mated] >= threshold))

    def kept(self, rows: Rows, threshold: float) -> int:
        """The number of mated comparisons that match between a good photo and one as bad as ``rows``; each
        pair of photos counts in both directions."""
        return int(np.sum((self.clean @ rows.T)[self._mated] >= threshold))

    def _embed(self, crops: Sequence[Pixels]) -> Rows:
        parts = [np.stack(crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
        return np.concatenate(
            list(threaded(lambda part: self._embed_all(recrop(part, ARCFACE_CROP, self._spec)), parts))
        )

    def _measured(self, fault: Fault, crops: Sequence[Pixels]) -> list[float]:
        return [fault.measure(crop) for crop in crops]
