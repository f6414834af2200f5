"""From a score to evidence: log-likelihood ratios and probabilities.

A score map says how much likelier a score is between two photos of one person than between photos
of two people. That ratio is a property of the scores alone; a probability also needs a prior, and the
one used here treats both cases as equally likely before the photos are compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.card import IsotonicCurve, LogisticCurve

Floats = NDArray[np.float64]

#: the prior probability that two photos show one person
PRIOR = 0.5


def log_likelihood_ratio(curve: LogisticCurve | IsotonicCurve, scores: ArrayLike) -> Floats:
    """The natural log-likelihood ratio of each of ``scores`` (any shape): above 0 it is evidence for
    one person, below 0 for two."""
    values = np.asarray(scores, np.float64)
    if isinstance(curve, LogisticCurve):
        return np.asarray(curve.slope * values + curve.offset)
    shares = np.interp(values, curve.scores, curve.probabilities)
    return np.asarray(np.log(shares) - np.log1p(-shares))


def probability(llrs: ArrayLike) -> Floats:
    """The probability of one person, with the prior `PRIOR`, from natural log-likelihood ratios."""
    log_odds = np.asarray(llrs, np.float64) + np.log(PRIOR / (1 - PRIOR))
    return np.asarray(np.exp(-np.logaddexp(0, -log_odds)))
