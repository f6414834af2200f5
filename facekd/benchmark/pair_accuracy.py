"""From what `facekd.verification` found on a list of pairs to what a benchmark tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facekd.benchmark.results import Accuracy, HardPair, Rate
from facekd.verification import hardest_listed

if TYPE_CHECKING:
    from facekd.verification import Interval, OperatingPoint
    from facekd.verification.protocols import PairList
    from facekd.verification.results import PairResult

#: hardest pairs told of each kind
HARDEST = 4


def accuracy_of(protocol: PairList, result: PairResult) -> Accuracy:
    """The rates, curve, scores and hardest pairs of ``result``, which ``protocol`` gave."""
    mated = result.scores[result.mated & result.completed]
    non_mated = result.scores[~result.mated & result.completed]
    fmr, tar, count = _curve(result)
    return Accuracy(
        rates=tuple(_rates(result)),
        correct=result.right,
        completed=result.completed,
        mated=mated,
        non_mated=non_mated,
        fmr=fmr,
        tar=tar,
        non_mated_count=count,
        hardest=hardest_pairs(protocol, result.scores, result.mated),
    )


def roc_words(result: PairResult) -> str:
    """Which comparisons the curve of `accuracy_of` is made of."""
    if result.everyone is None:
        mated = int((result.mated & result.completed).sum())
        return f"the listed pairs ({mated:,} mated, {int(result.completed.sum()) - mated:,} non-mated)"
    pairs = result.everyone
    return f"all pairs of the photos ({pairs.mated.size:,} mated, {pairs.non_mated:,} non-mated)"


def _rates(result: PairResult) -> list[Rate]:
    done = int(result.completed.sum())
    lost = result.scores.size - done
    basis = f"{done:,} pairs, {len(result.folds)} folds, standard deviation {result.accuracy.std * 100:.2f}"
    rates = [_rate("Accuracy", result.accuracy.mean, result.accuracy.interval, basis)]
    if lost:
        every = result.accuracy_with_failures
        told = f"{result.scores.size:,} pairs, {lost:,} of them failed and counted as errors"
        rates.append(_rate("Accuracy, failures as errors", every.mean, every.interval, told))
    rates.append(_rate("ROC area", result.rates.auc.value, result.rates.auc.interval, f"{done:,} pairs"))
    rates.append(
        _rate("Equal error rate", result.rates.eer.value, result.rates.eer.interval, f"{done:,} pairs")
    )
    rates += [_point(point, "listed pairs") for point in result.rates.points]
    rates += [_point(point, "all pairs") for point in result.everyone_points]
    return rates


def _rate(name: str, value: float, interval: Interval | None, basis: str) -> Rate:
    if interval is None:
        return Rate(name, value, None, None, basis)
    return Rate(name, value, interval.low, interval.high, f"{basis}; interval: {interval.method}")


def _point(point: OperatingPoint, comparisons: str) -> Rate:
    name = f"TAR at FMR {point.fmr:g}, {comparisons}"
    if point.tar is None:
        return Rate(name, None, None, None, point.shortfall or "")
    basis = f"{point.mated:,} mated, {point.non_mated:,} non-mated, {point.false_matches:,} false matches"
    return _rate(name, point.tar, point.interval, basis)


def _curve(result: PairResult) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """FMR (rising), TAR and the number of non-mated comparisons: over all pairs where there are
    any, of which only the part at low FMR is known exactly."""
    if result.everyone is None:
        curve = result.curve()
        return curve.fmr[::-1], 1 - curve.fnmr[::-1], int((~result.mated & result.completed).sum())
    pairs = result.everyone
    # negated, scores fall: a threshold at each kept non-mated score accepts what is not below it
    thresholds, counts = np.unique(-pairs.tail, return_counts=True)
    accepted = np.searchsorted(np.sort(-pairs.mated), thresholds, side="right")
    return np.cumsum(counts) / pairs.non_mated, accepted / pairs.mated.size, pairs.non_mated


def hardest_pairs(
    protocol: PairList, scores: NDArray[np.float64], mated: NDArray[np.bool_]
) -> tuple[HardPair, ...]:
    """The mated pairs that score lowest, then the non-mated ones that score highest."""

    return tuple(
        HardPair(pair.first, pair.second, pair.mated, pair.score)
        for pair in hardest_listed(protocol.compared, scores, mated, HARDEST)
    )
