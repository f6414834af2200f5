"""The cost of decisions and of likelihood ratios: minDCF, Cllr and minimum Cllr.

These are measures of speaker recognition, applied to face scores. Errors for scores that are not finite,
or for an empty class, are those of `metrics`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError
from facekd.verification.metrics import Roc, checked, levels_of, roc

#: the prior probability of a mated comparison in `min_dcf`
P_TARGET = 0.01

Floats = NDArray[np.float64]


def min_dcf(
    mated: ArrayLike, non_mated: ArrayLike, p_target: float = P_TARGET, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """The detection cost at the threshold with the least cost, relative to the better of the two
    decisions that need no score, all mated and all non-mated; it is therefore at most 1.

    The cost is C_miss P_target FNMR + C_fa (1 - P_target) FMR (NIST 2016 speaker recognition
    evaluation plan, section 3, where C_miss = C_fa = 1, the defaults). Raises `UsageError` for
    ``p_target`` outside (0, 1) and for a cost that is not positive.
    """
    return min_dcf_of(roc(mated, non_mated), p_target, c_miss, c_fa)


def min_dcf_of(curve: Roc, p_target: float = P_TARGET, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """`min_dcf` of ``curve``."""
    per_miss, per_false = rate_costs(p_target, c_miss, c_fa)
    return float((per_miss * curve.fnmr + per_false * curve.fmr).min())


def rate_costs(p_target: float = P_TARGET, c_miss: float = 1.0, c_fa: float = 1.0) -> tuple[float, float]:
    """The cost of one unit of FNMR and of one unit of FMR, in the units of `min_dcf`; raises as there."""
    if not 0 < p_target < 1:
        raise UsageError(f"the share of mated comparisons must be between 0 and 1, not {p_target:g}")
    if not (0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise UsageError(f"the cost of an error must be a positive number, not {c_miss:g} or {c_fa:g}")
    miss, false = c_miss * p_target, c_fa * (1 - p_target)
    return miss / min(miss, false), false / min(miss, false)


def cllr(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """The cost, in bits, of log-likelihood ratios (natural logarithm, mated over non-mated).

    Brümmer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech
    and Language 2006: 0 for ratios that are certain and right, 1 for ratios without information,
    unbounded for misleading ratios. A ratio may be infinite: it costs nothing if it is right, and an
    infinite amount if it is wrong.
    """
    yes, no = _ratios(mated, "mated"), _ratios(non_mated, "non-mated")
    return weighted_cllr(yes, np.ones(yes.size), no, np.ones(no.size))


def weighted_cllr(mated: Floats, mated_counts: ArrayLike, non_mated: Floats, non_counts: ArrayLike) -> float:
    """`cllr` of the log-likelihood ratios ``mated`` [M] and ``non_mated`` [N], each weighted by its
    count; a count of 0 leaves a ratio out, even an infinite one."""
    return (_cost(-mated, mated_counts) + _cost(non_mated, non_counts)) / (2 * float(np.log(2)))


def min_cllr(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """`cllr` of the best ratios that increase with the scores: the cost without calibration errors.

    The best increasing map is found by pooling adjacent violators (Brümmer and du Preez 2006, section
    on minimum Cllr), on the same scores that it is evaluated on. At most 1.
    """
    ratios, at_mated, at_non_mated = best_ratios(mated, non_mated)
    return weighted_cllr(ratios, at_mated, ratios, at_non_mated)


def least_cllr(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """`min_cllr` of counts of ``mated`` [L] and ``non_mated`` [L] comparisons at ascending scores; counts
    may be zero."""
    yes, no = np.asarray(mated, np.float64), np.asarray(non_mated, np.float64)
    used = yes + no > 0
    ratios = _pooled_ratios(yes[used], no[used])
    return weighted_cllr(ratios, yes[used], ratios, no[used])


def best_ratios(mated: ArrayLike, non_mated: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The increasing log-likelihood ratios [G] with the least `cllr`, one for each distinct score in
    ascending order, and the number of mated and non-mated comparisons [G] of each.

    They are infinite at the ends, where there is only one class.
    """
    levels = levels_of(mated, non_mated)
    count = levels.thresholds.size - 1
    at_mated = np.bincount(levels.mated, minlength=count).astype(np.float64)
    at_non_mated = np.bincount(levels.non_mated, minlength=count).astype(np.float64)
    return _pooled_ratios(at_mated, at_non_mated), at_mated, at_non_mated


def _pooled_ratios(mated: Floats, non_mated: Floats) -> Floats:
    """Ratios from counts [G] at ascending scores, each with a comparison, by pooling adjacent violators."""
    from scipy.optimize import isotonic_regression

    both = mated + non_mated
    blocks = isotonic_regression(mated / both, weights=both).blocks
    # count each block again: its mean is rounded, and a certain ratio must be exactly so
    yes, no = np.add.reduceat(mated, blocks[:-1]), np.add.reduceat(non_mated, blocks[:-1])
    with np.errstate(divide="ignore"):
        ratios = np.log(yes / yes.sum()) - np.log(no / no.sum())
    return np.repeat(ratios, np.diff(blocks))


def _cost(wrong: Floats, counts: ArrayLike) -> float:
    """The mean of ln(1 + e^wrong)."""
    weights = np.asarray(counts, np.float64)
    used = weights > 0
    return float(np.average(np.logaddexp(0, wrong[used]), weights=weights[used]))


def _ratios(values: ArrayLike, kind: str) -> Floats:
    array = np.asarray(values, np.float64)
    checked(np.where(np.isinf(array), 0, array), kind)
    return array
