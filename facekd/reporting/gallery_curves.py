"""The comparisons of a gallery in the form that figures need."""

from __future__ import annotations

import numpy as np

from facekd.verification import FEWEST_FALSE_MATCHES, Scored
from facekd.verification.results import GalleryResult


def gallery_scored(result: GalleryResult) -> Scored:
    """The comparisons of ``result`` in the form that figures need, without bands; ``counts`` are the kept
    scores."""
    scores, curve = result.scores, result.scores.curve()
    shown = curve.fmr * scores.non_mated >= FEWEST_FALSE_MATCHES - 1e-6
    counts, edges = np.histogram(scores.tail, 64, (-1, 1))
    return Scored(
        "probes with templates", scores.mated, scores.non_mated, curve, edges, counts,
        curve.fmr[shown][::-1], 1 - curve.fnmr[shown][::-1],
        tuple(point for point in result.points if point.threshold is not None), lambda: None,
    )  # fmt: skip
