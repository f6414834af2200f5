"""Thresholds for one gallery, from the scores between the people enrolled in it.

A card's thresholds were measured on other people and other photos. How similar the people of a gallery
are to the model depends on the gallery, and the comparisons between its different people are
non-mated comparisons of exactly the templates that are searched. A low false match rate depends only on
the highest scores, so only those are kept: scores and their people, never embeddings.

A search of a gallery of N people is a false positive if any of its N comparisons matches. The
false match rate is that of a gallery of one, so both rates are one estimate here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.gallery_threshold import GalleryThreshold, SuspectedDouble
from facekd.verification.influence_functions import Influence
from facekd.verification.intervals import Interval, clopper_pearson, rule_of_three
from facekd.verification.kept_scores import TAIL_SHARE, Floats, Ids
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES
from facekd.verification.score_matrix import Rows, UpperTail, acquired, blocks, checked
from facekd.verification.suspected_doubles import Pairs, likely_doubles, one_of_each

#: the fewest scores that are kept, and the most
_SHORTEST_TAIL, _LONGEST_TAIL = 10_000, 4_000_000
#: the tolerance when sums of shares are compared
_ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class GalleryTail:
    """The highest scores between the different people ``names`` [P] of a gallery, each compared as a probe
    with everybody else's template.

    ``scores`` [K] descend; ``people`` [K, 2] are the positions in ``names`` of the probe's person and of the
    template's. All comparisons above ``floor`` are included, and no others.

    Suspected duplicates count as one person: only the first of them in ``names`` counts, as if the
    others were not enrolled, so that enrolling somebody twice does not change a threshold.
    """

    names: tuple[str, ...]
    scores: Floats
    people: Ids
    floor: float

    @property
    def comparisons(self) -> int:
        """All comparisons of different people, including the duplicates'."""
        return len(self.names) * (len(self.names) - 1)

    @cached_property
    def doubles(self) -> tuple[SuspectedDouble, ...]:
        """The pairs with scores far above the others, highest first (`likely_doubles`)."""
        found = likely_doubles(self._pairs)
        return tuple(
            SuspectedDouble(self.names[one], self.names[other], float(score))
            for (one, other), score in zip(found.people, found.scores, strict=True)
        )

    @property
    def counted(self) -> int:
        """The number of people that rates are estimated from: one of each duplicate."""
        return int(self._counts.sum())

    def threshold_at_fmr(self, fmr: float) -> GalleryThreshold:
        """The smallest threshold at which at most ``fmr`` of the comparisons of different people match.

        Raises `UsageError` outside (0, 1), and if the kept scores do not reach low enough.
        """
        return self._threshold("fmr", fmr, 1)

    def threshold_at_fpir(self, fpir: float, people: int | None = None) -> GalleryThreshold:
        """The smallest threshold at which at most ``fpir`` of the searches for somebody who is not enrolled
        find anybody, in a gallery of ``people`` (default: this one).

        Each person is left out once and searched for among the others; for a smaller gallery, the average
        over all such galleries drawn from these people is used. A larger one has no such searches yet:
        comparisons are then treated as independent, FPIR = 1 - (1 - FMR)^N, which is never too low if some
        probes match more often than others (Jensen's inequality). Raises as `threshold_at_fmr` does.
        """
        return self._threshold("fpir", fpir, self.counted if people is None else people, people is None)

    def fpir_at(self, threshold: float, people: int | None = None) -> float:
        """The FPIR of a gallery of ``people`` (default: this one) at ``threshold``; with ``people`` 1 it is
        the FMR. Raises `UsageError` for a threshold below the kept scores."""
        size = self.counted if people is None else people
        self._check_kept(threshold)
        hits = self._hits(threshold)
        if size > self.counted:
            return _of_searches(len(hits) / (self.counted * (self.counted - 1)), size)
        found = np.bincount(hits[:, 0], minlength=len(self.names))
        return float(_chances(found.max(initial=0), self.counted - 1, size)[found].sum() / self.counted)

    def searches_at(self, threshold: float) -> tuple[int, Interval]:
        """How many pairs of people reach ``threshold``, and the 95 % interval of this gallery's FPIR there,
        for similar newcomers. Raises as `fpir_at`."""
        self._check_kept(threshold)
        hits = self._hits(threshold)
        return self._pairs_of(hits), self._interval(hits, self.counted)

    def fmr_at(self, threshold: float, confidence: float = 0.95) -> tuple[float, Interval]:
        """The FMR at ``threshold``, and its interval. Raises as `fpir_at`."""
        self._check_kept(threshold)
        hits = self._hits(threshold)
        rate = len(hits) / (self.counted * (self.counted - 1))
        return rate, self._interval(hits, 1, confidence)

    def with_people(
        self,
        names: Sequence[str],
        templates: ArrayLike,
        enrolled: ArrayLike,
        probes: ArrayLike | None = None,
        enrolled_probes: ArrayLike | None = None,
    ) -> GalleryTail:
        """The tail after the people ``names`` [A] were added, with ``templates`` [A, D] and ``probes``;
        ``enrolled`` [P, D] and ``enrolled_probes`` are those of the people of this tail, in its order.

        It equals what `tail_of_gallery` would find for all of them, as far as this tail reaches.
        """
        _check_new(self.names, names)
        new, old = _rows(names, templates), _rows(self.names, enrolled)
        asking, asked = (
            kind if given is None else _rows(whose, given)
            for kind, given, whose in ((new, probes, names), (old, enrolled_probes, self.names))
        )
        before, everybody = len(old), np.concatenate([old, new])
        found = [(self.scores, self.people)]
        for rows, columns, top, left in ((asking, everybody, before, 0), (asked, new, 0, before)):
            for block in blocks(rows, columns):
                one = np.arange(block.rows.start, block.rows.stop) + top
                other = np.arange(block.columns.start, block.columns.stop) + left
                there = (block.scores > self.floor) & (one[:, None] != other)
                places = np.nonzero(there)
                pairs = np.stack([one[places[0]], other[places[1]]], axis=1).astype(np.int32)
                found.append((block.scores[places].astype(np.float64), pairs))
        scores, people = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(-scores, kind="stable")
        return _cut((*self.names, *names), scores[order], people[order], self.floor)

    def without(self, names: Collection[str]) -> GalleryTail:
        """The tail after the people ``names`` were removed, without any of their scores."""
        gone = np.isin(self.names, list(names))
        place = np.cumsum(~gone) - 1
        kept = ~gone[self.people].any(axis=1)
        left = tuple(name for name, away in zip(self.names, gone, strict=True) if not away)
        return GalleryTail(left, self.scores[kept], place[self.people[kept]].astype(np.int32), self.floor)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for a file as private as the gallery, since it contains names."""
        return {
            "people": list(self.names),
            "comparisons": self.comparisons,
            "floor": self.floor if np.isfinite(self.floor) else None,
            "scores": self.scores.tolist(),
            "compared": self.people.tolist(),
            "suspected_doubles": [double.to_dict() for double in self.doubles],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> GalleryTail:
        """The inverse of `to_dict`. Raises `UsageError` for anything else."""
        try:
            names = tuple(str(name) for name in saved["people"])
            scores = np.array(saved["scores"], np.float64)
            people = np.array(saved["compared"], np.int32).reshape(-1, 2)
            floor = -np.inf if saved["floor"] is None else float(saved["floor"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"these are not the kept scores of a gallery ({error})") from error
        whole = scores.ndim == 1 and len(people) == scores.size and np.isfinite(scores).all()
        placed = not people.size or (people.min() >= 0 and people.max() < len(names))
        if not whole or not placed or (np.diff(scores) > 0).any() or (scores <= floor).any():
            raise UsageError("these are not the kept scores of a gallery")
        return cls(names, scores, people, floor)

    @cached_property
    def _pairs(self) -> Pairs:
        """The kept scores by pair of people, the higher of the two scores of each."""
        one, other = np.sort(self.people, axis=1).T.astype(np.int64)
        # the first of equal pairs is the higher
        first = np.sort(np.unique(one * len(self.names) + other, return_index=True)[1])
        return Pairs(len(self.names), self.scores[first], np.sort(self.people[first], axis=1))

    @cached_property
    def _counts(self) -> NDArray[np.bool_]:
        """A mask of the people who count [P]."""
        return one_of_each(len(self.names), likely_doubles(self._pairs).people)

    @cached_property
    def _among_counted(self) -> NDArray[np.bool_]:
        return np.asarray(self._counts[self.people].all(axis=1))

    @cached_property
    def _counted_scores(self) -> Floats:
        return self.scores[self._among_counted]

    @cached_property
    def _counted_people(self) -> Ids:
        return self.people[self._among_counted]

    def _threshold(self, kind: str, rate: float, size: int, whole: bool = False) -> GalleryThreshold:
        if not 0 < rate < 1:
            raise UsageError(f"a false positive rate must be between 0 and 1, not {rate:g}")
        if size < 1 and not whole:
            raise UsageError(f"a gallery has at least one person, not {size}")
        counted = self.counted
        pairs = counted * (counted - 1) // 2
        needed = fewest_people(rate, None if whole else size)
        if counted < needed:
            return GalleryThreshold(kind, rate, size, counted, pairs, needed)
        if size > counted:  # by independent comparisons
            single = self._threshold("fmr", _of_one(rate, size), 1)
            assert single.interval is not None  # there are enough people
            low, high = (_of_searches(end, size) for end in (single.interval.low, single.interval.high))
            interval = Interval(low, high, f"{single.interval.method}, independent comparisons")
            return GalleryThreshold(
                kind, rate, size, counted, pairs, needed, single.threshold, interval, single.pairs_above
            )
        threshold = self._smallest(rate, size)
        hits = self._hits(threshold)
        interval = self._interval(hits, size)
        above = self._pairs_of(hits)
        return GalleryThreshold(kind, rate, size, counted, pairs, needed, threshold, interval, above)

    def _check_kept(self, threshold: float) -> None:
        if threshold <= self.floor:
            raise UsageError(
                f"scores are kept above {self.floor:.4f}, not for a threshold of {threshold:.4f}"
            )

    def _hits(self, threshold: float) -> Ids:
        """The comparisons [H, 2] that reach ``threshold``."""
        return self._counted_people[self._counted_scores >= threshold]

    @staticmethod
    def _pairs_of(hits: Ids) -> int:
        return len(np.unique(np.sort(hits, axis=1), axis=0))

    def _smallest(self, rate: float, size: int) -> float:
        """The smallest threshold that gives at most ``rate`` in a gallery of ``size``."""
        scores, probes = self._counted_scores, self._counted_people[:, 0]
        # the rank of each score among the matches of its probe
        order = np.argsort(probes, kind="stable")
        starts = np.searchsorted(probes[order], probes[order])
        nth = np.empty(probes.size, np.int64)
        nth[order] = np.arange(1, probes.size + 1) - starts
        chances = _chances(nth.max(initial=0), self.counted - 1, size)
        reached = np.cumsum(chances[nth] - chances[nth - 1]) / self.counted
        allowed = int(np.searchsorted(reached, rate * _ROUNDING, side="right"))
        if allowed == scores.size:
            raise UsageError(
                f"the kept scores end at {self.floor:.4f}, above the threshold for {rate:g}",
                f"They suffice down to an FMR of {len(scores) / self.counted / (self.counted - 1):.2g}.",
            )
        return metrics.threshold_above(float(scores[allowed]), scores)

    def _interval(self, hits: Ids, size: int, confidence: float = 0.95) -> Interval:
        """The interval of the rate at a threshold that the comparisons ``hits`` [H, 2] reach."""
        if not len(hits):
            pairs = self.counted * (self.counted - 1) // 2
            if confidence != 0.95:
                return clopper_pearson(0, pairs, 2 * confidence - 1)  # one-sided, as the rule of three
            return Interval(
                0.0, _of_searches(rule_of_three(pairs), size), "rule of three over pairs of people"
            )
        from scipy.special import expit, logit, stdtrit

        left_out, dyads = self._left_out(hits, size)
        people = self.counted
        rate = float(_chances(people, people - 1, size)[self._matches_of(hits)].sum() / people)
        moved = left_out - left_out.mean()
        variance = (people - 1) / people * float(moved @ moved)
        single = float(dyads @ dyads)
        freedom = Influence(np.zeros(people), moved, np.empty(0)).freedom
        error = float(np.sqrt(max(variance - single, single)))
        half = (
            float(stdtrit(freedom, (1 + confidence) / 2)) * error / (rate * (1 - rate)) if rate < 1 else 0.0
        )
        centre = logit(rate)
        return Interval(float(expit(centre - half)), float(expit(centre + half)), "jackknife over people")

    def _left_out(self, hits: Ids, size: int) -> tuple[Floats, Floats]:
        """The rate without each counted person, as probe and as template, and the contribution of each pair
        of ``hits``.

        The variance of the former counts the random contribution of a pair twice, once for either person,
        and is corrected by the latter (Aronow, Samii and Assenova, "Cluster-robust variance estimation for
        dyadic data", Political Analysis 2015). Uncorrected it would be too large (Efron and Stein, "The
        jackknife estimate of variance", Annals of Statistics 1981).
        """
        people, found = self.counted, np.bincount(hits[:, 0], minlength=len(self.names))
        chances = _chances(int(found.max()), people - 2, size)
        own = chances[found]
        # what a probe loses without one of its matches
        lost = (chances[found] - chances[found - 1])[hits[:, 0]]
        as_template = np.bincount(hits[:, 1], lost, len(self.names))
        rates = (own.sum() - own - as_template)[self._counts] / (people - 1)
        one, other = np.sort(hits, axis=1).T.astype(np.int64)
        pair = np.unique(one * len(self.names) + other, return_inverse=True)[1]
        return rates, np.bincount(pair, lost) / (people - 1)

    def _matches_of(self, hits: Ids) -> NDArray[np.intp]:
        """How many of ``hits`` each counted person has as a probe."""
        return np.bincount(hits[:, 0], minlength=len(self.names))[self._counts]


def tail_of_gallery(
    names: Sequence[str], templates: ArrayLike, probes: ArrayLike | None = None, share: float = TAIL_SHARE
) -> GalleryTail:
    """Compare the people ``names`` [P] of a gallery with each other.

    ``templates`` [P, D] are searched; ``probes`` [P, D] are one photo of each person, as newcomers would
    have: a template of several photos is less noisy, and two templates score further from zero than a photo
    and a template. Without probes, templates are compared with each other. Rows have unit length.

    Scores are computed in blocks; the highest ``share`` is kept, by default enough for an FMR of 1e-2 in a
    gallery of up to about 14,000 people, and of 4e-4 with 100,000. Raises `UsageError` for fewer than two
    people, a repeated name, or embeddings that are not finite or not [P, D].
    """
    _check_new((), names)
    columns = _rows(names, templates)
    rows = columns if probes is None else _rows(names, probes)
    if rows.shape != columns.shape:
        raise UsageError(f"templates have the shape {list(columns.shape)}, but probes {list(rows.shape)}")
    people = np.arange(len(names), dtype=np.int32)
    tail = UpperTail(_length(len(names), share) // (2 if probes is None else 1))
    for block in blocks(rows) if probes is None else blocks(rows, columns):
        one, other = people[block.rows], people[block.columns]
        compared = block.above if probes is None else one[:, None] != other
        np.copyto(block.scores, -np.inf, where=~compared)
        tail.add(block.scores, one, other)
    scores, pairs = tail.falling()
    if probes is None:  # the score is the same in both directions
        scores, pairs = np.repeat(scores, 2), np.stack([pairs, pairs[:, ::-1]], axis=1).reshape(-1, 2)
    there = np.isfinite(scores)
    scores, pairs = scores[there], pairs[there]
    complete = scores.size == len(names) * (len(names) - 1)
    return _cut(tuple(names), scores, pairs, -np.inf if complete else float(scores[-1]), share)


def fewest_people(rate: float, size: int | None = 1) -> int:
    """How many people are needed for a false positive rate of ``rate`` in a gallery of ``size`` (1: an FMR;
    `None`: of these people only): as many as make 30 expected matching pairs
    (`FEWEST_FALSE_MATCHES`), with comparisons treated as independent."""
    if not 0 < rate < 1:
        raise UsageError(f"a false positive rate must be between 0 and 1, not {rate:g}")

    def enough(people: int) -> bool:
        pairs = people * (people - 1) / 2
        return pairs * _of_one(rate, people if size is None else size) * _ROUNDING >= FEWEST_FALSE_MATCHES

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _of_one(rate: float, size: int) -> float:
    """The FMR at which independent comparisons give ``rate`` in a gallery of ``size``."""
    return float(-np.expm1(np.log1p(-rate) / size))


def _of_searches(fmr: float, size: int) -> float:
    """The FPIR of a gallery of ``size`` with independent comparisons."""
    return float(-np.expm1(size * np.log1p(-fmr))) if fmr < 1 else 1.0


def _chances(most: int, others: int, size: int) -> Floats:
    """For probes that 0, 1, ... ``most`` of ``others`` match, the probability that at least one of these is
    among ``size`` people drawn from the others: 1 - C(others - k, size) / C(others, size)."""
    drawn, gone = min(size, others), np.arange(most)
    missed = np.clip(others - drawn - gone, 0, None) / np.maximum(others - gone, 1)
    return 1 - np.concatenate([[1.0], np.cumprod(missed)])


def _length(people: int, share: float = TAIL_SHARE) -> int:
    """How many scores are kept for this many people."""
    compared = people * (people - 1)
    return min(compared, int(np.clip(share * compared, _SHORTEST_TAIL, _LONGEST_TAIL)))


def _cut(
    names: tuple[str, ...], scores: Floats, people: Ids, floor: float, share: float = TAIL_SHARE
) -> GalleryTail:
    """A tail of the descending ``scores``, at most `_length` long; scores that tie with a dropped one are
    dropped too."""
    size = _length(len(names), share)
    if scores.size > size:
        floor = max(floor, float(scores[size]))
    kept = int(np.searchsorted(-scores, -floor, side="left"))
    return GalleryTail(names, scores[:kept], people[:kept], floor)


def _check_new(names: Sequence[str], new: Sequence[str]) -> None:
    if len({*names, *new}) < len(names) + len(new):
        raise UsageError("a person of the gallery is given twice")
    if len(names) + len(new) < 2:
        raise UsageError("there is nobody to compare: a gallery's own thresholds need different people")


def _rows(names: Sequence[str], embeddings: ArrayLike) -> Rows:
    rows, _ = checked(embeddings, np.asarray(names))
    if not acquired(rows).all():
        raise UsageError("an embedding has values that are not finite")
    return rows
