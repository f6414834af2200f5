"""Evaluate a model on photos of known people, with every possible comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facekd.verification.photo_scores import all_pairs
from facekd.verification.results import AllPairsResult

#: the false match rates for all comparisons, as far as there are enough of them
PEOPLE_FMRS = (1e-2, 1e-3, 1e-4, 1e-5)


def judge_people(
    protocol: str,
    source: str,
    embeddings: NDArray[np.float32],
    people: Sequence[str],
    photos: int,
    failed: Sequence[str],
    compared: str = "photos",
) -> AllPairsResult:
    """Compare every row of ``embeddings`` [N, D] with every other; ``people`` [N] are their identities.

    A row of NaN has no embedding. Raises `UsageError` if there is no mated or no non-mated
    comparison.
    """
    everyone = all_pairs(embeddings, people)
    return AllPairsResult(
        protocol, source, photos, len(set(people)), tuple(failed), everyone,
        tuple(everyone.operating_point(fmr) for fmr in PEOPLE_FMRS), compared, len(people),
    )  # fmt: skip
