"""The rates of listed pairs as a function of how often each person is drawn, for many drawings at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.verification import costs, metrics
from facekd.verification.influence_functions import (
    Influence,
    PairSums,
    auc_influence,
    d_prime_influence,
    eer_influence,
    min_dcf_influence,
    partial_auc_influence,
    tar_influence,
)
from facekd.verification.operating_points import PARTIAL_FMR

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

#: the comparisons of all drawings of a block: as many as stay in a processor's cache
CELLS = 1 << 17
#: fewer drawings at once take longer than one after the other
SMALLEST_BLOCK = 8
LARGEST_BLOCK = 64


class PairStatistics:
    """AUC, EER and the TAR at each of ``fmrs`` as a function of how often each person is drawn.

    Comparisons are sorted once; a drawing then costs two cumulative sums and a search in them. Drawings of up
    to 16,000 comparisons are computed `block` at a time, two to twelve times as fast as one after the other.
    """

    def __init__(self, levels: metrics.Levels, sums: PairSums, fmrs: Sequence[float]) -> None:
        self._levels, self._sums, self._fmrs = levels, sums, fmrs
        rising, self._ones = _in_order(levels.mated, sums.ones)
        places, others = _in_order(levels.non_mated, sums.others)
        self._one, self._other = np.ascontiguousarray(others.T)
        # for each mated comparison the number of non-mated ones below it, and of those at most as high
        self._lower, self._not_higher = (np.searchsorted(places, rising, side) for side in ("left", "right"))
        # for each number of rejected non-mated comparisons the mated ones at most as high
        self._refused = np.append(0, np.searchsorted(rising, places, side="right"))
        # for each threshold the mated and the non-mated comparisons below it
        every = np.arange(levels.thresholds.size)
        self._missed, self._kept_out = np.searchsorted(rising, every), np.searchsorted(places, every)

    @property
    def block(self) -> int:
        """How many drawings to compute at once."""
        fitting = CELLS // (self._ones.size + self._one.size)
        return min(fitting, LARGEST_BLOCK) if fitting >= SMALLEST_BLOCK else 1

    def __call__(self, weights: Floats) -> list[float]:
        """The rates if person i is drawn ``weights`` [P] times; NaN if a class is empty."""
        found: list[float] = self.of_each(weights[None])[0].tolist()
        return found

    def of_each(self, weights: Floats) -> Floats:
        """The rates [B, S] of the drawings ``weights`` [B, P]; NaN where a class is empty."""
        people = np.ascontiguousarray(weights.T)
        yes = people.take(self._ones, axis=0)
        no = people.take(self._one, axis=0)
        no *= people.take(self._other, axis=0)
        missed, refused = _running(yes), _running(no)
        held = (missed[-1] > 0) & (refused[-1] > 0)
        if held.all():
            return np.stack(self._rates(_Drawn(yes, no, missed, refused)), axis=1)
        rates = np.full((len(weights), self._count), np.nan)
        if held.any():
            rates[held] = self.of_each(weights[held])
        return rates

    @property
    def _count(self) -> int:
        return 2 + len(self._fmrs)

    def _rates(self, drawn: _Drawn) -> list[Floats]:
        """Each rate [B] of drawings without an empty class."""
        mated, non_mated = drawn.missed, drawn.refused
        beaten = non_mated.take(self._lower, axis=0)
        beaten += non_mated.take(self._not_higher, axis=0)
        auc = _summed(beaten, drawn.yes) / (2 * mated[-1] * non_mated[-1])
        return [auc, self._eer(drawn), *self._tars(drawn)]

    def _tars(self, drawn: _Drawn) -> Floats:
        """TAR at each FMR, [F, B]."""
        wanted = (1 - np.asarray(self._fmrs) - 1e-12)[:, None]
        shape, columns = (len(self._fmrs), drawn.refused.shape[1]), np.arange(drawn.refused.shape[1])

        def enough(count: Places) -> NDArray[np.bool_]:
            return drawn.refused[count, columns] / drawn.refused[-1] >= wanted

        refused = _first(enough, np.full(shape, -1), np.full(shape, self._one.size))
        tars: Floats = 1 - drawn.missed[self._refused[refused], columns] / drawn.missed[-1]
        return tars

    def _eer(self, drawn: _Drawn) -> Floats:
        """As `metrics.eer_of`."""
        columns, last = np.arange(drawn.missed.shape[1]), self._missed.size - 1

        def rates(place: Places) -> tuple[Floats, Floats]:
            missed = drawn.missed[self._missed[place], columns] / drawn.missed[-1]
            return missed, 1 - drawn.refused[self._kept_out[place], columns] / drawn.refused[-1]

        def crossed(place: Places) -> NDArray[np.bool_]:
            fnmr, fmr = rates(place)
            return fnmr >= fmr

        first = _first(crossed, np.zeros(columns.size, np.intp), np.full(columns.size, last))
        fnmr, fmr = (np.stack(pair) for pair in zip(rates(first - 1), rates(first), strict=True))
        gap = np.abs(fnmr - fmr)
        nearest = gap <= gap.min(axis=0) + 1e-12
        middles: Floats = ((fnmr + fmr) / 2 * nearest).sum(axis=0) / nearest.sum(axis=0)
        return middles

    def influences(self) -> list[Influence]:
        """The influence of the people on each of the rates."""
        levels, curve, sums = self._levels, self._levels.curve(), self._sums
        tars = [tar_influence(levels, curve, fmr, sums) for fmr in self._fmrs]
        return [auc_influence(levels, sums), eer_influence(levels, curve, sums), *tars]


class WholeStatistics(PairStatistics):
    """As `PairStatistics`, with partial AUC, minDCF and d' after the TARs."""

    def __init__(self, levels: metrics.Levels, sums: PairSums, fmrs: Sequence[float]) -> None:
        super().__init__(levels, sums, fmrs)
        self._yes, self._no = (
            levels.thresholds[np.sort(place)] for place in (levels.mated, levels.non_mated)
        )

    @property
    def _count(self) -> int:
        return 5 + len(self._fmrs)

    def _rates(self, drawn: _Drawn) -> list[Floats]:
        # the curve of the weighted comparisons, as `Levels.curve` computes it, without counting them again
        fnmr = drawn.missed.take(self._missed, axis=0)
        fnmr /= drawn.missed[-1]
        fmr = drawn.refused.take(self._kept_out, axis=0)
        fmr /= drawn.refused[-1]
        np.subtract(1, fmr, out=fmr)
        partial = _partial_auc(fmr, fnmr, PARTIAL_FMR)
        per_miss, per_false = costs.rate_costs()
        fnmr *= per_miss
        fmr *= per_false
        fnmr += fmr
        d_prime = weighted_d_prime(self._yes, drawn.yes, self._no, drawn.no)
        return [*super()._rates(drawn), partial, fnmr.min(axis=0), d_prime]

    def influences(self) -> list[Influence]:
        levels, curve, sums = self._levels, self._levels.curve(), self._sums
        partial = partial_auc_influence(levels, curve, PARTIAL_FMR, sums)
        return [
            *super().influences(), partial, min_dcf_influence(levels, curve, sums),
            d_prime_influence(levels, sums),
        ]  # fmt: skip


@dataclass(frozen=True)
class _Drawn:
    """The weights of the mated comparisons ``yes`` [M, B] and of the non-mated ones ``no`` [N, B], in the
    order of their scores, and their cumulative sums ``missed`` [M + 1, B] and ``refused`` [N + 1, B]."""

    yes: Floats
    no: Floats
    missed: Floats
    refused: Floats


def _first(reached: Callable[[Places], NDArray[np.bool_]], before: Places, at_latest: Places) -> Places:
    """For each of a monotone ``reached`` the first place where it is true: after ``before``, where it is not,
    and not after ``at_latest``, where it is."""
    while (at_latest - before > 1).any():
        middle = (before + at_latest + 1) // 2
        now = reached(middle)
        before, at_latest = np.where(now, before, middle), np.where(now, middle, at_latest)
    return at_latest


def _partial_auc(fmr: Floats, fnmr: Floats, highest_fmr: float) -> Floats:
    """As `metrics.partial_auc_of`, of the curves ``fmr`` [G + 1, B] and ``fnmr`` [G + 1, B]."""
    inside = (fmr <= highest_fmr).sum(axis=0)
    # the last points inside and the one after them, if there is one, in ascending order of FMR
    count = min(int(inside.max()) + 1, len(fmr))
    x, y = fmr[::-1][:count], fnmr[::-1][:count].copy()
    columns, last, after = np.arange(x.shape[1]), inside - 1, np.minimum(inside, count - 1)
    # at one FMR the curve may rise: interpolate to the right of the last point inside
    start = x[last, columns]
    width = x[after, columns] - start
    share = np.divide(highest_fmr - start, width, out=np.zeros(columns.size), where=width > 0)
    edge = y[last, columns] + share * (y[after, columns] - y[last, columns])
    y[after, columns] = np.where(after > last, edge, y[after, columns])
    # beyond the edge nothing is left to add
    widths = np.diff(np.minimum(x, highest_fmr), axis=0)
    areas = ((y[:-1] + y[1:]) / 2 * widths).sum(axis=0)
    found: Floats = 1 - metrics.partial_auc_scale(highest_fmr) * areas
    return found


def weighted_d_prime(
    mated: Floats, mated_weights: Floats, non_mated: Floats, non_mated_weights: Floats
) -> Floats:
    """`metrics.d_prime` [B] of finite scores ``mated`` [M] and ``non_mated`` [N] with the weights [M, B] and
    [N, B]; each class must have weight."""
    (high, one), (low, other) = _moments(mated, mated_weights), _moments(non_mated, non_mated_weights)
    gap, spread = high - low, np.sqrt((one + other) / 2)
    # what rounding leaves of zero
    least = 1e-12 * np.maximum(np.abs(high), np.abs(low))
    found = np.where(np.abs(gap) > least, np.copysign(np.inf, gap), 0.0)
    np.divide(gap, spread, out=found, where=spread > least)
    return found


def _moments(scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The mean and the variance [B] of ``scores`` [N], weighted by ``weights`` [N, B]."""
    total = np.ones(scores.size) @ weights
    mean = scores @ weights / total
    squares = scores[:, None] - mean
    squares *= squares
    return mean, _summed(squares, weights) / total


def _summed(ones: Floats, others: Floats) -> Floats:
    """The sum of the products of each column of ``ones`` [N, B] and ``others`` [N, B]."""
    sums: Floats = np.einsum("nb,nb->b", ones, others)
    return sums


def _in_order(places: Places, people: NDArray[np.integer]) -> tuple[Places, NDArray[np.integer]]:
    order = np.argsort(places, kind="stable")
    return places[order], people[order]


def _running(weights: Floats) -> Floats:
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums
