"""From a score to evidence: log-likelihood ratios, probabilities, and what they cost.

A score map says how much likelier a score is between two photos of one person than between photos
of two. That ratio is a property of the scores alone; a probability also needs a prior, and the one
that is told here takes both cases for equally likely before the photos are seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.card import IsotonicCurve, LogisticCurve

Floats = NDArray[np.float64]

#: how likely one person is taken to be before the photos are compared
PRIOR = 0.5


def log_likelihood_ratio(curve: LogisticCurve | IsotonicCurve, scores: ArrayLike) -> Floats:
    """The natural log-likelihood ratio of each of ``scores`` (any shape): above 0 it speaks for
    one person, below 0 for two."""
    values = np.asarray(scores, np.float64)
    if isinstance(curve, LogisticCurve):
        return np.asarray(curve.slope * values + curve.offset)
    shares = np.interp(values, curve.scores, curve.probabilities)
    return np.asarray(np.log(shares) - np.log1p(-shares))


def probability(llrs: ArrayLike) -> Floats:
    """The probability of one person at the prior `PRIOR`, of natural log-likelihood ratios."""
    log_odds = np.asarray(llrs, np.float64) + np.log(PRIOR / (1 - PRIOR))
    return np.asarray(np.exp(-np.logaddexp(0, -log_odds)))


def weighted_cllr(mated: Floats, mated_counts: ArrayLike, non_mated: Floats, non_counts: ArrayLike) -> float:
    """The cost of log-likelihood ratios, in bits: 0 is perfect, 1 is what saying nothing costs.

    ``mated`` [M] and ``non_mated`` [N] are natural log-likelihood ratios, each standing for as many
    comparisons as its count says; a count of 0 leaves it out, even an infinite one. Mated and
    non-mated comparisons weigh the same together (Brümmer and du Preez, "Application-independent
    evaluation of speaker detection", Computer Speech and Language 2006).
    """
    return (_cost(-mated, mated_counts) + _cost(non_mated, non_counts)) / (2 * float(np.log(2)))


def _cost(wrong: Floats, counts: ArrayLike) -> float:
    """The mean of ln(1 + e^wrong)."""
    weights = np.asarray(counts, np.float64)
    used = weights > 0
    return float(np.average(np.logaddexp(0, wrong[used]), weights=weights[used]))
