"""Both error rates over the threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from facekd.reporting.drawing import Draw, Drawing, Theme, legend_height, short_name
from facekd.reporting.result_figures._axes import legend, rate_axis, score_range, thinned
from facekd.reporting.result_figures._base import RESULT_FIGURES, ComparedResults
from facekd.verification import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@RESULT_FIGURES.register(30)
def thresholds(compared: ComparedResults) -> Iterator[Drawing]:
    """For each model's largest set of comparisons."""
    if compared.widest:
        over = next(iter(compared.widest.values())).comparisons
        labels = [_label(name, rate) for name in compared.widest for rate in ("FMR", "FNMR")]
        yield Drawing(
            "thresholds", threshold_draw(compared.widest), 3.3 + legend_height(labels),
            f"FMR and FNMR of {', '.join(compared.widest)} over the threshold, on a log axis.",
            f"Error rates over the threshold, {over}. A dot is an operating point of the table: the "
            "threshold below it gives that FMR.",
        )  # fmt: skip


def threshold_draw(models: Mapping[str, Scored]) -> Draw:
    """FMR (dashed) and FNMR (solid) over the threshold, with a dot at each operating point."""

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, scored) in enumerate(models.items()):
            colour, curve = theme.colour(place), scored.well_counted
            # the curve itself has no threshold above the highest non-mated score
            mated = np.sort(scored.mated)
            rising = np.unique(mated)
            missed = np.searchsorted(mated, rising, side="left") / mated.size
            axes.plot(*thinned(curve.thresholds, curve.fmr), "--", color=colour, lw=1.4,
                      label=_label(name, "FMR"))  # fmt: skip
            axes.plot(*thinned(rising, missed), color=colour, lw=1.7, label=_label(name, "FNMR"))
            for point in scored.points:
                axes.plot([point.threshold or 0.0], [point.fmr], "o", color=colour, ms=4)
        axes.set_xlim(*score_range(list(models.values())))
        rate_axis(axes, "y")
        axes.set_ylim(top=1.3)
        axes.set_xlabel("threshold on the score")
        axes.set_ylabel("error rate")
        legend(axes, theme, "above")

    return draw


def _label(name: str, rate: str) -> str:
    return f"{short_name(name)}, {rate}"
