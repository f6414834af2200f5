"""Pictures of a gallery's accuracy: ROC, DET, and the open set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from facekd.reporting.drawing import LIGHT, Drawing, figure_of
from facekd.reporting.plots import det_draw, open_set_draw, roc_draw
from facekd.reporting.result_drawings import cmc_drawings, open_set_drawings, score_drawings
from facekd.verification import FEWEST_FALSE_MATCHES, Scored, open_curve
from facekd.verification.results import cmc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from facekd.verification.results import GalleryResult


def gallery_figure(results: Mapping[str, GalleryResult]) -> Figure:
    """TAR over FMR (log axis), FNMR over FMR on normal-deviate axes, and FNIR over FPIR, one colour for
    each model of ``results``.

    Curves end where fewer than 30 false matches, or false positives, are left to measure by, and where
    the kept scores end; they have no bands.
    """
    scored = {name: gallery_scored(result) for name, result in results.items()}
    draws = [
        roc_draw({name: [found] for name, found in scored.items()}),
        det_draw({name: found.well_counted for name, found in scored.items()}),
        open_set_draw({name: open_curve(result.searches) for name, result in results.items()}),
    ]
    return figure_of(draws, LIGHT, 13.5, 4.5)


def gallery_drawings(results: Mapping[str, GalleryResult]) -> Iterator[Drawing]:
    """ROC, DET, error rates over the threshold, CMC and open set; what the data cannot show is left out."""
    yield from score_drawings({name: (gallery_scored(result),) for name, result in results.items()})
    yield from cmc_drawings({name: cmc(result.searches) for name, result in results.items()})
    yield from open_set_drawings({name: open_curve(result.searches) for name, result in results.items()})


def gallery_scored(result: GalleryResult) -> Scored:
    """The comparisons of ``result`` in the form that pictures need; ``counts`` holds the kept scores."""
    scores, curve = result.scores, result.scores.curve()
    shown = curve.fmr * scores.non_mated >= FEWEST_FALSE_MATCHES - 1e-6
    counts, edges = np.histogram(scores.tail, 64, (-1, 1))
    return Scored(
        "probes with templates", scores.mated, scores.non_mated, curve, edges, counts,
        curve.fmr[shown][::-1], 1 - curve.fnmr[shown][::-1],
        tuple(point for point in result.points if point.threshold is not None), lambda: None,
    )  # fmt: skip
