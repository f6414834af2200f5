"""The comparisons of one model in the form that plots need, wherever their scores came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, singledispatch

import numpy as np
from numpy.typing import NDArray

from facekd.verification import metrics
from facekd.verification.confidence_bands import Band, all_pairs_band, listed_band
from facekd.verification.kept_scores import HIGHEST_FMR
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES, OperatingPoint
from facekd.verification.photo_scores import AllPairs
from facekd.verification.results import AllPairsResult, PairResult, Result, ScoreResult
from facekd.verification.score_matrix import BINS_PER_UNIT, bin_edges

#: bins of a plotted histogram: per unit of an all-pairs score, and in total for listed scores
_PER_UNIT, _LISTED_BINS = 64, 60
_POINTS = 400

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """``comparisons`` names them. ``mated`` [M] are scores, ``non_mated`` is the number of the others.

    ``curve`` is the ROC, ``counts`` [B] the non-mated scores between neighbouring ``edges`` [B + 1].
    ``fmr`` (ascending) and ``tar`` are the part of the ROC that rests on 30 false matches and is plotted;
    ``points`` the operating points that have a threshold. `band` is computed on demand.
    """

    comparisons: str
    mated: Floats
    non_mated: int
    curve: metrics.Roc
    edges: Floats
    counts: Ids
    fmr: Floats
    tar: Floats
    points: tuple[OperatingPoint, ...]
    find_band: Callable[[], Band | None]

    @cached_property
    def band(self) -> Band | None:
        """The confidence band of the plotted part."""
        return self.find_band()

    @property
    def well_counted(self) -> metrics.Roc:
        """The part of ``curve`` whose FMR rests on 30 false matches."""
        return _well_counted(self.curve, self.non_mated)


def score_listed(
    yes: Floats,
    no: Floats,
    people: tuple[Ids, Ids] | None,
    points: Sequence[OperatingPoint],
    comparisons: str = "listed pairs",
) -> Scored:
    """From mated scores ``yes`` [M] and non-mated scores ``no`` [N] of any range; ``people`` as in
    `confidence_bands.listed_band`."""
    curve = metrics.roc(yes, no)
    drawn = _well_counted(curve, no.size)
    low, high = min(yes.min(), no.min()), max(yes.max(), no.max())
    counts, edges = np.histogram(no, _LISTED_BINS, (low, high if high > low else low + 1))
    return Scored(
        comparisons, yes, no.size, curve, edges, counts, drawn.fmr[::-1], 1 - drawn.fnmr[::-1],
        _with_threshold(points),        lambda: listed_band(yes, no, people),
    )  # fmt: skip


def score_all_pairs(
    pairs: AllPairs, points: Sequence[OperatingPoint], comparisons: str = "all pairs"
) -> Scored:
    """From the scores that `AllPairs` keeps."""
    bins = BINS_PER_UNIT // _PER_UNIT
    edges = np.append(bin_edges()[:-1:bins], 1.0)
    # the last bin holds the score 1 alone and is merged with the one below it
    counts = pairs.histogram[:-1].reshape(-1, bins).sum(axis=1)
    counts[-1] += pairs.histogram[-1]
    lowest = max(np.searchsorted(edges, pairs.mated.min(), side="right") - 1, 0)
    first = min(int(np.flatnonzero(counts)[0]), int(lowest))
    return Scored(
        comparisons, pairs.mated, pairs.non_mated, pairs.curve(), edges[first:], counts[first:],
        *all_pairs_curve(pairs), _with_threshold(points), lambda: all_pairs_band(pairs),
    )  # fmt: skip


def _well_counted(curve: metrics.Roc, non_mated: int) -> metrics.Roc:
    shown = curve.fmr * non_mated >= FEWEST_FALSE_MATCHES - 1e-6
    return metrics.Roc(curve.thresholds[shown], curve.fmr[shown], curve.fnmr[shown])


def all_pairs_curve(pairs: AllPairs) -> tuple[Floats, Floats]:
    """FMR and TAR of all pairs, from 30 false matches to the end of the kept tail."""
    most = int(pairs.non_mated * HIGHEST_FMR)
    if most <= FEWEST_FALSE_MATCHES:
        return np.empty(0), np.empty(0)
    counts = np.unique(np.geomspace(FEWEST_FALSE_MATCHES, most, _POINTS).astype(int))
    mated = np.sort(pairs.mated)
    # a mated score matches if it is above the first non-mated score that must not match
    missed = np.searchsorted(mated, pairs.tail[counts], side="right")
    return counts / pairs.non_mated, 1 - missed / mated.size


def _with_threshold(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    return tuple(point for point in points if point.threshold is not None)


def score_completed(
    scores: Floats,
    mated: NDArray[np.bool_],
    people: NDArray[np.int64] | None,
    points: Sequence[OperatingPoint],
) -> Scored:
    """The completed ones of listed comparisons, for plots: ``scores`` [P], NaN if one failed, ``mated``
    [P] and the ``people`` [P, 2] if they are known."""
    done = np.isfinite(scores)
    yes, no = done & mated, done & ~mated
    known = None if people is None else (people[yes, 0], people[no])
    return score_listed(scores[yes], scores[no], known, points)


@singledispatch
def curves_of(result: Result) -> tuple[Scored, ...]:
    """The comparisons of ``result`` for plots, the largest set last; none for a search."""
    return ()


@curves_of.register
def _(result: PairResult) -> tuple[Scored, ...]:
    """The listed comparisons, and all pairs if they were evaluated, for plots."""
    listed = score_completed(result.scores, result.mated, result.pair_people, result.rates.points)
    if result.everyone is None:
        return (listed,)
    return listed, score_all_pairs(result.everyone, result.everyone_points)


@curves_of.register
def _(result: AllPairsResult) -> tuple[Scored, ...]:
    """The comparisons for plots."""
    return (score_all_pairs(result.everyone, result.points),)


@curves_of.register
def _(result: ScoreResult) -> tuple[Scored, ...]:
    """The comparisons for plots."""
    return (score_completed(result.scores, result.mated, result.pair_people, result.points),)
