"""Evaluate scores without folds: of template pairs, or computed by another system."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facekd.verification.pair_rates import pair_rates
from facekd.verification.results import Floats, ScoreResult

#: the false match rates for scores, as far as there are enough of them
SCORE_FMRS = (1e-2, 1e-3, 1e-4, 1e-5)


def judge_scores(
    protocol: str,
    source: str,
    scores: Floats,
    mated: NDArray[np.bool_],
    people: NDArray[np.int64] | None = None,
    photos: int | None = None,
    failed: Sequence[str] = (),
) -> ScoreResult:
    """Rates of ``scores`` [P], NaN if a comparison failed, with ``mated`` [P].

    ``people`` [P, 2] are the two people of each comparison, for the bootstrap over identities. Raises
    `UsageError` if no mated or no non-mated comparison was completed.
    """
    done = np.isfinite(scores)
    yes, no = done & mated, done & ~mated
    ones, others = (None, None) if people is None else (people[yes, 0], people[no])
    rates = pair_rates(scores[yes], scores[no], ones, others, SCORE_FMRS)
    return ScoreResult(protocol, source, photos, tuple(failed), scores, mated, rates, people)
