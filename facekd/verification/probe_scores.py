"""Every probe against every template, where the two are not the same embeddings.

So it is with a gallery, whose templates are compared with probe photos, and with two models, of which
one embeds the probes and the other the templates. As in `all_pairs`, comparisons are streamed: all
mated scores are kept, and of the non-mated ones the highest with the two persons of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.bootstrap import identity_bootstrap, weighted_tar
from facekd.verification.influence_functions import Influence
from facekd.verification.intervals import Interval, extreme_interval, rule_of_three
from facekd.verification.operating_points import OperatingPoint, enough
from facekd.verification.score_matrix import HIGHEST_FMR, TAIL_SHARE

#: however few comparisons there are, this many non-mated scores are kept
_SHORTEST_TAIL = 1_000_000
#: probes that are compared with all templates at once
_ROWS = 256
#: points of a curve that are read from the tail
_TAIL_POINTS = 2000

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Against:
    """The scores of probes against templates, both of known persons.

    ``mated`` [M] with ``mated_people`` [M]; ``tail`` [K], the highest non-mated scores, falling, with
    ``tail_people`` [K, 2], the probe's person and the template's; ``non_mated`` counts all non-mated
    comparisons. ``probes`` and ``templates`` [P] are the numbers of each person's embeddings,
    ``names`` [P] the persons, rising.
    """

    mated: Floats
    mated_people: Ids
    tail: Floats
    tail_people: Ids
    non_mated: int
    probes: NDArray[np.int64]
    templates: NDArray[np.int64]
    names: NDArray[Any]

    def threshold_at(self, fmr: float) -> float:
        """The smallest threshold whose FMR is at most ``fmr``, as `metrics.threshold_at_fmr`.

        Raises `UsageError` for an FMR above 1e-2 where not all non-mated scores were kept.
        """
        if fmr > HIGHEST_FMR and self.tail.size < self.non_mated:
            raise UsageError(f"scores are kept for FMR {HIGHEST_FMR:g} and below, not {fmr:g}")
        allowed = metrics.allowed_false_matches(self.non_mated, fmr)
        return metrics.threshold_above(float(self.tail[allowed]), self.mated, self.tail)

    def tar_at(self, fmr: float) -> float:
        """The share of mated comparisons that match at ``fmr``."""
        return 1 - metrics.fnmr_at(self.mated, self.threshold_at(fmr))

    def fmr_at(self, threshold: float) -> float | None:
        """The FMR at ``threshold``; `None` where it lies below the kept scores."""
        if self.tail.size < self.non_mated and threshold <= self.tail[-1]:
            return None
        return float((self.tail >= threshold).sum() / self.non_mated)

    def operating_point(self, fmr: float) -> OperatingPoint:
        """TAR at ``fmr`` with its interval, or why the data is insufficient."""
        if not enough(self.non_mated, fmr):
            return OperatingPoint(fmr, self.mated.size, self.non_mated)
        threshold, tar = self.threshold_at(fmr), self.tar_at(fmr)
        return OperatingPoint(
            fmr, self.mated.size, self.non_mated, tar, threshold,
            self._interval(tar, self.drawn_tar(fmr), self.tar_influence(fmr)),
            int((self.tail >= threshold).sum()),
        )  # fmt: skip

    def fnmr_interval(self, threshold: float) -> Interval:
        """The 95 % interval of the FNMR at a fixed ``threshold``, persons drawn anew."""
        missed = self.mated < threshold

        def rate(weights: Floats) -> float:
            drawn = weights[self.mated_people]
            return float((drawn * missed).sum() / drawn.sum()) if drawn.any() else float("nan")

        influence = Influence(self._mated_influence(missed), np.zeros(self.names.size), np.empty(0))
        return self._interval(float(missed.mean()), rate, influence)

    def fmr_interval(self, matches: Ids, counts: NDArray[np.int64]) -> Interval:
        """The 95 % interval of the FMR where the persons ``matches`` [C, 2] matched falsely
        ``counts`` [C] times, persons drawn anew."""
        if not len(matches):
            return Interval(0.0, rule_of_three(self.non_mated), "rule of three")

        def rate(weights: Floats) -> float:
            total = self._non_mated_weight(weights)
            false = weights[matches[:, 0]] * weights[matches[:, 1]] @ counts
            return float(false / total) if total else float("nan")

        influence = Influence(
            np.zeros(self.names.size), self.fmr_influence(matches, counts), np.empty(0)
        )  # fmt: skip
        return self._interval(int(counts.sum()) / self.non_mated, rate, influence)

    def _interval(self, value: float, rate: Callable[[Floats], float], influence: Influence) -> Interval:
        extreme = extreme_interval(value, np.unique(self.mated_people).size)
        if extreme is not None:
            return extreme
        return identity_bootstrap(lambda w: [rate(w)], self.names.size, influences=[influence])[0]

    def mated_sizes(self) -> NDArray[np.int64]:
        """The number of mated comparisons of each person [P]."""
        return np.bincount(self.mated_people, minlength=self.names.size)

    def weighted_tar_at(self, fmr: float, weights: Floats) -> float:
        """`tar_at` with person i drawn ``weights`` [P] times; NaN where a class is left empty."""
        return self.drawn_tar(fmr)(weights)

    def drawn_tar(self, fmr: float) -> Callable[[Floats], float]:
        """`weighted_tar_at` for many drawings."""
        near = min(self.tail.size, 2 * metrics.allowed_false_matches(self.non_mated, fmr) + 100)

        def tar(weights: Floats) -> float:
            total = self._non_mated_weight(weights)
            for depth in (near, self.tail.size):
                pairs = self.tail_people[:depth]
                tail_weights = weights[pairs[:, 0]] * weights[pairs[:, 1]]
                if tail_weights.sum() > total * fmr:
                    break
            mated_weights = weights[self.mated_people]
            return weighted_tar(self.mated, mated_weights, self.tail[:depth], tail_weights, total, fmr)

        return tar

    def tar_influence(self, fmr: float) -> Influence:
        """The influence of the persons on `tar_at` ``fmr``: that on the TAR at a fixed threshold, and that
        on the FMR there times the slope of the ROC, as far as the threshold wanders."""
        allowed = metrics.allowed_false_matches(self.non_mated, fmr)
        by_person = self.fmr_influence(self.tail_people[:allowed], np.ones(allowed, np.int64))
        far = 2 * float(np.sqrt(by_person @ by_person)) * self.non_mated
        ends = np.clip([allowed - far - 1, allowed + far + 1], 0, self.tail.size - 1).astype(np.int64)
        fewer, more = (float((self.mated > score).mean()) for score in self.tail[ends])
        slope = (more - fewer) * self.non_mated / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.0
        matched = self._mated_influence(self.mated > self.tail[allowed])
        return Influence(matched, -slope * by_person, np.empty(0))

    def _mated_influence(self, values: NDArray[np.bool_]) -> Floats:
        """Of the persons [P] on the mean of ``values`` [M] of the mated comparisons."""
        shares = (values - values.mean()) / values.size
        return np.asarray(np.bincount(self.mated_people, shares, self.names.size), np.float64)

    def fmr_influence(self, matches: Ids, counts: NDArray[np.int64]) -> Floats:
        """The influence of the persons [P] on the FMR where the persons ``matches`` [C, 2] matched falsely
        ``counts`` [C] times: its derivative by their weights."""
        persons = self.names.size
        false = sum(np.bincount(matches[:, side], counts, persons) for side in (0, 1))
        others = self.templates.sum() - self.templates, self.probes.sum() - self.probes
        compared = self.probes * others[0] + self.templates * others[1]
        return np.asarray((false - counts.sum() / self.non_mated * compared) / self.non_mated, np.float64)

    def _non_mated_weight(self, weights: Floats) -> float:
        probes, templates = weights * self.probes, weights * self.templates
        return float(probes.sum() * templates.sum() - probes @ templates)

    def curve(self) -> metrics.Roc:
        """The ROC at some thousand of the kept scores, exact at each; it reaches as far as they do."""
        ranks = np.unique(np.geomspace(1, self.tail.size, _TAIL_POINTS).astype(np.int64))
        scores = np.unique(self.tail[ranks - 1])
        if self.tail.size < self.non_mated:
            scores = scores[scores > self.tail[-1]]  # more of the last may have been dropped
        thresholds = np.append(scores, np.inf)
        false = np.searchsorted(-self.tail, -thresholds, side="right")
        missed = np.searchsorted(np.sort(self.mated), thresholds, side="left")
        return metrics.Roc(thresholds, false / self.non_mated, missed / self.mated.size)


def against(
    probes: ArrayLike,
    people: ArrayLike,
    templates: ArrayLike,
    enrolled: ArrayLike,
    same_photos: bool = False,
) -> Against:
    """Compare ``probes`` [N, D] of ``people`` [N] with ``templates`` [G, D] of ``enrolled`` [G].

    Rows have unit length; those of NaN were not acquired and are left out. ``same_photos``: row i of
    both is the same photo, which is not compared with itself. Scores are cosines in float32.

    Raises `UsageError` where there is no mated or no non-mated comparison, or shapes disagree.
    """
    rows, columns, names = _checked(probes, people, templates, enrolled)
    non_mated = _non_mated(rows.people, columns.people, names.size)
    if non_mated == 0:
        raise UsageError("there is no non-mated comparison: probes and templates are all of one person")
    tail = _Highest(max(_SHORTEST_TAIL, int(np.ceil(non_mated * TAIL_SHARE))))
    mated, mated_people = [np.empty(0, np.float32)], [np.empty(0, np.int32)]
    for start, scores in _blocks(rows.embeddings, columns.embeddings):
        here = rows.people[start : start + len(scores)]
        same = here[:, None] == columns.people[None, :]
        one, other = np.nonzero((scores > tail.floor) & ~same)
        tail.add(scores[one, other], here[one], columns.people[other])
        if same_photos:
            same &= rows.place[start : start + len(scores), None] != columns.place[None, :]
        own = np.nonzero(same)
        mated.append(scores[own])
        mated_people.append(here[own[0]])
    found = np.concatenate(mated).astype(np.float64)
    if not found.size:
        raise UsageError("there is no mated comparison: no probe is of a person with a template")
    return Against(
        found, np.concatenate(mated_people), *tail.falling(), non_mated,
        np.bincount(rows.people, minlength=names.size), np.bincount(columns.people, minlength=names.size),
        names,
    )  # fmt: skip


@dataclass(frozen=True)
class FalseMatches:
    """The false matches at a threshold, by the two persons: ``people`` [C, 2], probe and template, in
    the numbering of `Against`, ``counts`` [C] of them and the ``highest`` score [C]; rising by people."""

    people: Ids
    counts: NDArray[np.int64]
    highest: Floats


def false_matches(
    probes: ArrayLike, people: ArrayLike, templates: ArrayLike, enrolled: ArrayLike, threshold: float
) -> FalseMatches:
    """Who is confused with whom at ``threshold``; arguments as of `against`, however low it lies."""
    rows, columns, names = _checked(probes, people, templates, enrolled)
    keys, highest = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for start, scores in _blocks(rows.embeddings, columns.embeddings):
        here = rows.people[start : start + len(scores)]
        one, other = np.nonzero((scores >= threshold) & (here[:, None] != columns.people[None, :]))
        keys.append(here[one].astype(np.int64) * names.size + columns.people[other])
        highest.append(scores[one, other])
    pairs, place, counts = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
    most = np.full(pairs.size, -np.inf)
    np.maximum.at(most, place, np.concatenate(highest))
    return FalseMatches(np.stack(np.divmod(pairs, names.size), axis=1).astype(np.int32), counts, most)


@dataclass(frozen=True)
class _Side:
    """Acquired embeddings, their persons by number, and their places among all rows."""

    embeddings: Rows
    people: Ids
    place: NDArray[np.intp]


def _checked(
    probes: ArrayLike, people: ArrayLike, templates: ArrayLike, enrolled: ArrayLike
) -> tuple[_Side, _Side, NDArray[Any]]:
    one, other = np.asarray(probes, np.float32), np.asarray(templates, np.float32)
    labels = np.asarray(people), np.asarray(enrolled)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise UsageError(
            f"probes {list(one.shape)} and templates {list(other.shape)} cannot be compared",
            "Both are [N, D] with the same D.",
        )
    if labels[0].shape != one.shape[:1] or labels[1].shape != other.shape[:1]:
        raise UsageError("each probe and each template has one person")
    names, numbers = np.unique(np.concatenate(labels), return_inverse=True)
    sides = []
    for rows, whose in zip((one, other), np.split(numbers.astype(np.int32), [len(one)]), strict=True):
        there = np.flatnonzero(~np.isnan(rows).all(axis=1))
        sides.append(_Side(rows[there], whose[there], there))
    return sides[0], sides[1], names


def _non_mated(probes: Ids, templates: Ids, persons: int) -> int:
    """Comparisons of one person's probe with another's template."""
    one, other = (np.bincount(whose, minlength=persons).astype(object) for whose in (probes, templates))
    return int(one.sum() * other.sum() - (one * other).sum())


def _blocks(rows: Rows, columns: Rows) -> Iterator[tuple[int, Rows]]:
    """Cosines of some rows with all columns: the first row, and the block."""
    for start in range(0, len(rows), _ROWS):
        scores = rows[start : start + _ROWS] @ columns.T
        # rounding may carry the cosine of a repeated photo past one
        yield start, np.clip(scores, -1, 1, out=scores)


class _Highest:
    """The highest ``size`` scores of a stream, with the persons of each."""

    def __init__(self, size: int) -> None:
        self._size = size
        #: scores at or below this cannot be among the highest any more
        self.floor = np.float32(-np.inf)
        self._parts: list[tuple[Rows, Ids, Ids]] = [
            (np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.int32))
        ]
        self._kept = 0

    def add(self, scores: Rows, one: Ids, other: Ids) -> None:
        self._parts.append((scores, one, other))
        self._kept += scores.size
        if self._kept > 2 * self._size:
            joined, first, second = self._joined()
            kept = np.argpartition(joined, joined.size - self._size)[-self._size :]
            self._parts = [(joined[kept], first[kept], second[kept])]
            self._kept, self.floor = self._size, joined[kept].min()

    def _joined(self) -> tuple[Rows, Ids, Ids]:
        scores, one, other = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        return scores, one, other

    def falling(self) -> tuple[Floats, Ids]:
        """The kept scores [K], falling, and their persons [K, 2]."""
        scores, one, other = self._joined()
        order = np.argsort(-scores, kind="stable")[: self._size]
        return scores[order].astype(np.float64), np.stack([one[order], other[order]], axis=1)
