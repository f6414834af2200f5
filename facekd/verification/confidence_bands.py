"""Confidence bands of a ROC: at each FMR of a grid, the 95 % interval of the TAR.

A band is pointwise: each of its intervals is a 95 % interval, but the curve as a whole lies inside
less often (vertical averaging in Macskassy, Provost and Rosset, "Pointwise ROC confidence
bounds: an empirical evaluation", ROCML 2005). The bootstrap over identities uses the same draws for the
whole grid and fewer replicates than for the tables, since only the spread is taken from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.bootstrap import identity_bootstrap
from facekd.verification.intervals import Interval, extreme_interval, wilson
from facekd.verification.kept_scores import HIGHEST_FMR
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES
from facekd.verification.pair_rates import pair_statistics
from facekd.verification.photo_scores import AllPairs

REPLICATES = 200
#: FMRs at which a band is computed; between them it is interpolated linearly
POINTS = 25

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Band:
    """From ``low`` to ``high`` [G] at the ascending FMRs ``fmr`` [G]; ``method`` names the intervals."""

    fmr: Floats
    low: Floats
    high: Floats
    method: str


def listed_band(yes: Floats, no: Floats, people: tuple[Ids, Ids] | None) -> Band | None:
    """The band of listed comparisons with mated scores ``yes`` [M] and non-mated scores ``no`` [N].

    ``people`` are the identities of the mated [M] and the non-mated [N, 2] comparisons. Without them, or
    with too few to resample, the intervals are Wilson's, which treat comparisons as
    independent. `None` if no FMR rests on 30 false matches.
    """
    lowest = FEWEST_FALSE_MATCHES / no.size
    if lowest >= 1:
        return None
    fmrs = np.geomspace(lowest, 1, POINTS)
    curve = metrics.roc(yes, no)
    tars = [metrics.tar_of(curve, fmr) for fmr in fmrs]
    try:
        if people is None:
            raise UsageError("the identities are not known")
        statistics, sizes = pair_statistics(yes, no, *people, fmrs.tolist())
        # AUC and EER are the first two
        found = identity_bootstrap(statistics, sizes.size, REPLICATES, influences=statistics.influences())[2:]
    except UsageError:
        return _band(fmrs, [wilson(round(tar * yes.size), yes.size) for tar in tars], "Wilson")
    return _over_people(fmrs, tars, found, np.unique(people[0]).size)


def all_pairs_band(pairs: AllPairs) -> Band | None:
    """The band of all pairs up to FMR 1e-2, with identities resampled; `None` if no FMR up to there rests
    on 30 false matches, or there are too few identities to resample."""
    lowest = FEWEST_FALSE_MATCHES / pairs.non_mated
    if lowest >= HIGHEST_FMR:
        return None
    fmrs = np.geomspace(lowest, HIGHEST_FMR, POINTS)
    drawn = [pairs.drawn_tar(fmr) for fmr in fmrs.tolist()]
    influences = [pairs.tar_influence(fmr) for fmr in fmrs.tolist()]
    try:
        found = identity_bootstrap(
            lambda weights: [tar(weights) for tar in drawn], pairs.photos.size, REPLICATES,
            influences=influences,
        )  # fmt: skip
    except UsageError:
        return None
    tars = [pairs.tar_at(fmr) for fmr in fmrs.tolist()]
    return _over_people(fmrs, tars, found, np.unique(pairs.mated_people).size)


def _over_people(fmrs: Floats, tars: Sequence[float], found: Sequence[Interval], people: int) -> Band:
    whole = [extreme_interval(tar, people) or interval for tar, interval in zip(tars, found, strict=True)]
    return _band(fmrs, whole, "bootstrap over identities")


def _band(fmrs: Floats, intervals: Sequence[Interval], method: str) -> Band:
    low, high = np.array([(interval.low, interval.high) for interval in intervals]).T
    return Band(fmrs, low, high, method)
