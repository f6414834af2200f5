"""The scores of all comparisons among known people, as far as low false match rates need them.

All mated scores are kept; of the non-mated ones the upper tail is kept exactly, with the two people of
each for the bootstrap: a low FMR depends on nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.bootstrap import identity_bootstrap, weighted_tar
from facekd.verification.influence_functions import Influence
from facekd.verification.intervals import Interval, extreme_interval, rule_of_three
from facekd.verification.operating_points import OperatingPoint, enough
from facekd.verification.score_matrix import Block, UpperTail, histogram

#: the largest FMR that the kept tail is sufficient for
HIGHEST_FMR = 0.01
#: the tail extends beyond that, since a bootstrap replicate may reach further down
TAIL_SHARE = 2 * HIGHEST_FMR
#: points of a curve that are computed from the tail
_TAIL_POINTS = 2000
#: kept scores are counted in portions of this size, to save memory
_AT_ONCE = 2**20

Floats = NDArray[np.float64]
Ids = NDArray[np.int32]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class KeptScores(ABC):
    """``mated`` scores [M] with ``mated_people`` [M]; ``tail`` [K], the highest non-mated scores,
    descending, with ``tail_people`` [K, 2]; ``non_mated`` is the number of all non-mated comparisons.
    ``names`` [P] are the labels of the people, ascending; people are numbered by their positions there."""

    mated: Floats
    mated_people: Ids
    tail: Floats
    tail_people: Ids
    non_mated: int
    names: NDArray[Any]

    @property
    @abstractmethod
    def identity_pairs(self) -> int:
        """The number of distinct pairs of people in the non-mated comparisons: the most independent trials
        that there can be, however many photos each person has."""

    @abstractmethod
    def compared_with_others(self) -> Counts:
        """The number of non-mated comparisons of each person [P]."""

    @abstractmethod
    def drawn_non_mated(self, weights: Floats) -> float:
        """The weight of all non-mated comparisons if person i is drawn ``weights`` [P] times."""

    def threshold_at(self, fmr: float) -> float:
        """The smallest threshold whose FMR is at most ``fmr``, as `metrics.threshold_at_fmr`.

        Raises `UsageError` for an FMR above 1e-2 if not all non-mated scores were kept.
        """
        if fmr > HIGHEST_FMR and self.tail.size < self.non_mated:
            raise UsageError(f"scores are kept for an FMR of {HIGHEST_FMR:g} and below, not {fmr:g}")
        allowed = metrics.allowed_false_matches(self.non_mated, fmr)
        return metrics.threshold_above(float(self.tail[allowed]), self.mated, self.tail)

    def tar_at(self, fmr: float) -> float:
        """The share of completed mated comparisons that match at ``fmr``.

        The bare number, for choosing among models on the same data; reports use `operating_point`,
        which is insufficient if there are too few comparisons.
        """
        return 1 - metrics.fnmr_at(self.mated, self.threshold_at(fmr))

    def false_matches(self, threshold: float) -> int:
        """How many non-mated comparisons match at a threshold of `threshold_at`."""
        return int((self.tail >= threshold).sum())

    def operating_point(self, fmr: float) -> OperatingPoint:
        """TAR at ``fmr`` with its interval, or why the data are insufficient."""
        if not enough(self.non_mated, fmr):
            return OperatingPoint(fmr, self.mated.size, self.non_mated, identity_pairs=self.identity_pairs)
        threshold, tar = self.threshold_at(fmr), self.tar_at(fmr)
        interval = self._extreme(tar) or self._drawn(self.drawn_tar(fmr), self.tar_influence(fmr))
        return OperatingPoint(
            fmr, self.mated.size, self.non_mated, tar, threshold, interval, self.false_matches(threshold),
            self.identity_pairs,
        )  # fmt: skip

    def fnmr_interval(self, threshold: float) -> Interval:
        """The 95 % interval of the FNMR at a fixed ``threshold``, with people resampled."""
        missed = self.mated < threshold
        asked, refused = self._by_person(self.mated_people), self._by_person(self.mated_people[missed])

        def rate(weights: Floats) -> float:
            total = float(weights @ asked)
            return float(weights @ refused) / total if total else float("nan")

        influence = Influence(self._mated_influence(missed), np.zeros(self.names.size), np.empty(0))
        return self._extreme(float(missed.mean())) or self._drawn(rate, influence)

    def _fmr_interval(
        self, weigh: Callable[[Floats], float], by_person: NDArray[Any], false: int
    ) -> Interval:
        """The interval of the FMR with ``false`` matches, ``by_person`` [P] of each; ``weigh`` returns
        their weight in a replicate."""
        if false == 0:
            return Interval(0.0, rule_of_three(self.identity_pairs), "rule of three over pairs of identities")

        def rate(weights: Floats) -> float:
            total = self.drawn_non_mated(weights)
            return weigh(weights) / total if total else float("nan")

        influence = Influence(np.zeros(self.names.size), self._fmr_influence(by_person, false), np.empty(0))
        return self._extreme(false / self.non_mated) or self._drawn(rate, influence)

    def _extreme(self, rate: float) -> Interval | None:
        return extreme_interval(rate, np.unique(self.mated_people).size)

    def _drawn(self, rate: Callable[[Floats], float], influence: Influence) -> Interval:
        return identity_bootstrap(lambda weights: [rate(weights)], self.names.size, influences=[influence])[0]

    def drawn_tar(self, fmr: float) -> Callable[[Floats], float]:
        """`tar_at` if person i is drawn ``weights`` [P] times, as a function of the weights; NaN if
        a class is empty."""
        near = self._near(fmr)

        def tar(weights: Floats) -> float:
            total = self.drawn_non_mated(weights)
            for depth in (near, self.tail.size):
                tail_weights = products(weights, self.tail_people[:depth])
                if tail_weights.sum() > total * fmr:
                    break
            mated_weights = weights[self.mated_people]
            return weighted_tar(self.mated, mated_weights, self.tail[:depth], tail_weights, total, fmr)

        return tar

    def _near(self, fmr: float) -> int:
        """How deep into the tail a replicate reaches at ``fmr``, except for rare ones."""
        return min(self.tail.size, 2 * metrics.allowed_false_matches(self.non_mated, fmr) + 100)

    def tar_influence(self, fmr: float) -> Influence:
        """The influence of the people [P] on `tar_at` ``fmr``: that on the TAR at a fixed threshold, plus
        that on the FMR there times the slope of the ROC over the range in which the threshold moves."""
        allowed = metrics.allowed_false_matches(self.non_mated, fmr)
        by_person = self._fmr_influence(self._in_tail(0, allowed), allowed)
        far = 2 * float(np.sqrt(by_person @ by_person)) * self.non_mated
        ends = np.clip([allowed - far - 1, allowed + far + 1], 0, self.tail.size - 1).astype(np.int64)
        fewer, more = (float((self.mated > score).mean()) for score in self.tail[ends])
        slope = (more - fewer) * self.non_mated / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.0
        matched = self._mated_influence(self.mated > self.tail[allowed])
        return Influence(matched, -slope * by_person, np.empty(0))

    def _mated_influence(self, chosen: NDArray[np.bool_]) -> Floats:
        """The influence of the people [P] on the share of ``chosen`` [M] among the mated comparisons."""
        asked, people = self._by_person(self.mated_people), self.mated_people[chosen]
        return (self._by_person(people) - people.size / self.mated.size * asked) / self.mated.size

    def _fmr_influence(self, by_person: NDArray[Any], false: int) -> Floats:
        """The influence of the people [P] on the FMR with ``false`` matches, ``by_person`` [P] of each."""
        return np.asarray(by_person - false / self.non_mated * self.compared_with_others()) / self.non_mated

    def _in_tail(self, start: int, stop: int) -> Counts:
        """The number of non-mated comparisons from rank ``start`` to ``stop`` of each person."""
        counts = np.zeros(self.names.size, np.int64)
        for top in range(start, stop, _AT_ONCE):
            counts += self._by_person(self.tail_people[top : min(top + _AT_ONCE, stop)].ravel())
        return counts

    def _by_person(self, people: Ids) -> Counts:
        return np.bincount(people, minlength=self.names.size)

    def _tail_scores(self, most: int) -> Floats:
        """About a thousand of the ``most`` highest non-mated scores, ascending, without repetition."""
        ranks = np.unique(np.geomspace(1, most, _TAIL_POINTS).astype(np.int64)) if most else np.empty(0, int)
        scores = np.unique(self.tail[ranks - 1])
        if self.tail.size < self.non_mated:
            scores = scores[scores > self.tail[-1]]  # others equal to the last may have been dropped
        return scores

    def _roc(self, below: Floats, counts: Counts, scores: Floats) -> metrics.Roc:
        """The ROC at ``scores`` of the tail, and at ``below`` them, where ``counts`` comparisons match."""
        thresholds = np.concatenate([below, scores, [np.inf]])
        false = np.concatenate([counts, np.searchsorted(-self.tail, -scores, side="right"), [0]])
        missed = np.searchsorted(np.sort(self.mated), thresholds, side="left")
        return metrics.Roc(thresholds, false / self.non_mated, missed / self.mated.size)


def sift(
    stream: Iterable[Block],
    rows: Ids,
    columns: Ids,
    compared: Callable[[Block], NDArray[np.bool_] | np.bool_],
    tail: UpperTail,
    counts: Counts | None = None,
) -> tuple[Floats, Ids, Floats, Ids]:
    """What `KeptScores` keeps of a matrix with rows of the people ``rows`` [N] and columns of the
    people ``columns`` [M]: mated scores, their people, ``tail`` and its people. ``compared`` says which
    comparisons of a block count, if people may be compared with themselves. The `histogram` of all
    non-mated scores is added to ``counts``.
    """
    mated, whose = [np.empty(0, np.float32)], [np.empty(0, np.int32)]
    for block in stream:
        scores, one, other = block.scores, rows[block.rows], columns[block.columns]
        if one.max() >= other.min():
            same, counted = one[:, None] == other, compared(block)
            own = np.flatnonzero(same & counted)
            mated.append(scores.ravel()[own])
            whose.append(one[own // other.size])
            np.copyto(scores, -np.inf, where=same | ~counted)
        tail.add(scores, one, other)
        if counts is not None:
            counts += histogram(scores)
    return np.concatenate(mated).astype(np.float64), np.concatenate(whose), *tail.falling()


def products(weights: Floats, pairs: Ids) -> Floats:
    """The weight of each of ``pairs`` [K, 2] of people."""
    return weights[pairs[:, 0]] * weights[pairs[:, 1]]
