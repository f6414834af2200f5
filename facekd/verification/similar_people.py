"""False match rates within groups of similar people, and thresholds that hold there.

A card's thresholds hold for people as varied as those it was calibrated on. Within a group of one sex and
race the false match rate at the same threshold is many times as high (Grother, Ngan and Hanaoka, NISTIR 8280,
2019). Here each group is treated as a gallery of its people with one photo each, so that its thresholds,
their intervals and the pairs that are left out as suspected duplicates are those of a gallery's own scores.

The group with the highest threshold is taken for every rate. The highest of several estimates is too high
on average: such a threshold is rather too strict than too lax. The upper end of its interval is simultaneous:
it holds for all groups at once (Bonferroni), so also for the one that was chosen. The lower end is the lower
bound of the rate among varied people: everybody who was measured here, or those of the card's calibration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from facekd.card import Calibration, GroupRate, MeasuredGroup, SimilarThreshold, TailThreshold
from facekd.errors import UsageError
from facekd.verification.gallery_tail import GalleryTail, fewest_people, tail_of_gallery
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES

#: the false match rates that are tried, in small steps: a search uses the next lower one, and by a large step
#: it would miss more of the enrolled people than necessary
SIMILAR_FMRS = (1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5, 5e-6, 2e-6, 1e-6)
#: the share of a group's scores that is kept: the highest FMR that can be measured within a group
HIGHEST_GROUP_FMR = 0.2
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class SimilarGroups:
    """The highest scores between the people of each of ``groups``, two or more, and between ``everybody``."""

    groups: Mapping[str, GalleryTail]
    everybody: GalleryTail

    def thresholds(
        self, fmrs: Collection[float] = SIMILAR_FMRS, varied: Sequence[Calibration | TailThreshold] = ()
    ) -> tuple[SimilarThreshold, ...]:
        """One for each of ``fmrs``, descending, that can be shown; see `_threshold`. ``varied`` are the
        entries of the card that were measured on varied people.

        Raises `UsageError` if there is none.
        """
        found = [self._threshold(fmr, varied) for fmr in sorted(set(fmrs), reverse=True)]
        known = tuple(one for one in found if one is not None)
        if known:
            return known
        largest = max(tail.counted for tail in self.groups.values())
        fmr = max(fmrs)
        raise UsageError(
            f"FMR {fmr:g} within groups: insufficient data, the largest group has {largest:,} people",
            f"{fewest_people(fmr):,} people in each group would be enough; add more people.",
        )

    def _threshold(
        self, fmr: float, varied: Sequence[Calibration | TailThreshold]
    ) -> SimilarThreshold | None:
        """The highest of the thresholds at ``fmr`` of the groups that have enough people for it. `None` if
        there are none, or if one of the other groups certainly has a higher rate at that threshold."""
        own = {name: tail.threshold_at_fmr(fmr).threshold for name, tail in self.groups.items()}
        known = {name: threshold for name, threshold in own.items() if threshold is not None}
        if not known:
            return None
        worst = max(known, key=lambda name: known[name])
        threshold, people = known[worst], self.groups[worst].counted
        if threshold > 1:
            raise UsageError(
                f"FMR {fmr:g} within {worst}: more than {fmr:g} of the comparisons score 1",
                "The model does not tell these people apart, or one person has several names.",
            )
        simultaneous = 1 - (1 - _CONFIDENCE) / len(self.groups)
        intervals = {
            name: tail.fmr_at(threshold, simultaneous)[1]
            for name, tail in self.groups.items()
            if tail.floor < threshold
        }
        if any(interval.low > fmr for name, interval in intervals.items() if name not in known):
            return None
        return SimilarThreshold(
            fmr=fmr,
            threshold=threshold,
            low=min(fmr, self.everybody.fmr_at(threshold)[1].low, _lowest(varied, threshold)),
            high=max(intervals[name].high for name in {worst, *self._shown(threshold)}),
            group=worst,
            people=people,
            pairs=people * (people - 1) // 2,
        )

    def _shown(self, threshold: float) -> list[str]:
        """The groups with enough matching pairs at ``threshold`` for an interval that means something."""
        return [
            name
            for name, tail in self.groups.items()
            if tail.floor < threshold and tail.searches_at(threshold)[0] >= FEWEST_FALSE_MATCHES
        ]

    def measured(self, calibration: Sequence[Calibration]) -> tuple[MeasuredGroup, ...]:
        """The groups by name, with their rates at the thresholds of ``calibration``; a rate above
        `HIGHEST_GROUP_FMR` is left out, since it is not known."""
        return tuple(
            MeasuredGroup(
                name=name,
                people=tail.counted,
                pairs=tail.counted * (tail.counted - 1) // 2,
                rates=tuple(_rate(tail, entry) for entry in calibration if entry.threshold > tail.floor),
            )
            for name, tail in sorted(self.groups.items())
        )


def _lowest(varied: Sequence[Calibration | TailThreshold], threshold: float) -> float:
    """A lower bound of the FMR at ``threshold`` by the entries ``varied``: that of the next higher threshold,
    0 above all of them; 1 if there are no entries."""
    if not varied:
        return 1.0
    return max((entry.low for entry in varied if entry.threshold >= threshold), default=0.0)


def _rate(tail: GalleryTail, entry: Calibration) -> GroupRate:
    rate, interval = tail.fmr_at(entry.threshold)
    return GroupRate(
        fmr=entry.fmr, threshold=entry.threshold, rate=rate, low=interval.low, high=interval.high
    )


def similar_groups(embeddings: ArrayLike, people: Sequence[str], groups: Sequence[str]) -> SimilarGroups:
    """Compare ``people`` [N], each with one row of ``embeddings`` [N, D] of unit length, within their
    ``groups`` [N] and with everybody.

    Raises `UsageError` for fewer than two groups of two or more people, and as `tail_of_gallery`.
    """
    rows, names, group = np.asarray(embeddings), np.asarray(people), np.asarray(groups)
    found = {}
    for one in np.unique(group):
        own = group == one
        if own.sum() > 1:
            found[str(one)] = tail_of_gallery(names[own].tolist(), rows[own], share=HIGHEST_GROUP_FMR)
    if len(found) < 2:
        raise UsageError(
            f"{len(found)} group(s) with two or more embedded people; at least two groups are needed",
            "The file of groups must give the group of each person.",
        )
    return SimilarGroups(found, tail_of_gallery(names.tolist(), rows))
