"""The rates and the ROC that a benchmark reports, from the result for a list of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from facekd.verification import Interval, OperatingPoint
    from facekd.verification.results import PairResult


@dataclass(frozen=True)
class Rate:
    """A measured share with its 95 % interval. ``value`` is `None` if there are too few
    comparisons for one; ``basis`` says what it is based on, or why there is none."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    basis: str


@dataclass(frozen=True)
class RocPoints:
    """The points of a ROC, ``fmr`` ascending, from ``non_mated`` non-mated comparisons."""

    fmr: NDArray[np.float64]
    tar: NDArray[np.float64]
    non_mated: int


def rates_of(result: PairResult) -> tuple[Rate, ...]:
    """The rates of ``result``, each with its basis."""
    return tuple(_rates(result))


def roc_words(result: PairResult) -> str:
    """The comparisons in the curve of `roc_points`, in words."""
    if result.everyone is None:
        mated = int((result.mated & result.completed).sum())
        return f"the listed pairs ({mated:,} mated, {int(result.completed.sum()) - mated:,} non-mated)"
    pairs = result.everyone
    return f"all pairs of the photos ({pairs.mated.size:,} mated, {pairs.non_mated:,} non-mated)"


def roc_points(result: PairResult) -> RocPoints:
    """The ROC over all pairs if there are any, of which only the part at low FMR is known exactly;
    otherwise that of the listed pairs."""
    if result.everyone is None:
        curve = result.curve()
        non_mated = int((~result.mated & result.completed).sum())
        return RocPoints(curve.fmr[::-1], 1 - curve.fnmr[::-1], non_mated)
    pairs = result.everyone
    # negated scores ascend: a threshold at each kept non-mated score accepts scores at or above it
    thresholds, counts = np.unique(-pairs.tail, return_counts=True)
    accepted = np.searchsorted(np.sort(-pairs.mated), thresholds, side="right")
    return RocPoints(np.cumsum(counts) / pairs.non_mated, accepted / pairs.mated.size, pairs.non_mated)


def _rates(result: PairResult) -> Iterator[Rate]:
    done = int(result.completed.sum())
    lost = result.scores.size - done
    basis = f"{done:,} pairs, {len(result.folds)} folds, standard deviation {result.accuracy.std * 100:.2f}"
    told = basis if result.is_balanced else f"{basis}; the list is not balanced"
    yield _rate("Accuracy", result.accuracy.mean, result.accuracy.interval, told)
    if not result.is_balanced:
        told = "the mean of the shares of mated and of non-mated pairs decided correctly"
        yield _rate("Balanced accuracy", result.balanced_accuracy, None, told)
    if lost:
        every = result.accuracy_with_failures
        told = f"{result.scores.size:,} pairs, {lost:,} of them failed and counted as errors"
        yield _rate("Accuracy, failures as errors", every.mean, every.interval, told)
    yield _rate("AUC", result.rates.auc.value, result.rates.auc.interval, f"{done:,} pairs")
    yield _rate("Equal error rate", result.rates.eer.value, result.rates.eer.interval, f"{done:,} pairs")
    for point in result.rates.points:
        yield _point(point, "listed pairs")
    for point in result.everyone_points:
        yield _point(point, "all pairs")


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
