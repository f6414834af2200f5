"""The distribution of each model's scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from facekd.reporting.drawing import Draw, Drawing, Theme
from facekd.reporting.result_figures._axes import score_range
from facekd.reporting.result_figures._base import RESULT_FIGURES, ComparedResults
from facekd.verification import Scored
from facekd.verification.results import GalleryResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@RESULT_FIGURES.register(40)
def histograms(compared: ComparedResults) -> Iterator[Drawing]:
    """One for each model, of its largest set of comparisons."""
    for name, part in compared.widest.items():
        # for a gallery only the highest non-mated scores are kept
        if not isinstance(compared.results[name], GalleryResult):
            alt = (
                f"Histogram of the scores of {name}: mated comparisons have a median of "
                f"{np.median(part.mated):.2f}; thresholds are marked."
            )
            caption = f"Scores of {name}, {part.comparisons}, with the thresholds of the table."
            yield Drawing(f"scores of {name}", histogram_draw(part), 3.0, alt, caption)


def histogram_draw(scored: Scored) -> Draw:
    """Distributions of mated and non-mated scores, as shares of each kind, with a line at each threshold."""
    mated = np.histogram(scored.mated, scored.edges)[0]

    def draw(axes: Axes, theme: Theme) -> None:
        kinds = (
            ("non-mated", scored.counts, scored.non_mated, theme.colour(1)),
            ("mated", mated, scored.mated.size, theme.colour(0)),
        )
        for label, counts, total, colour in kinds:
            share = 100 * counts / total
            axes.stairs(share, scored.edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(share, scored.edges, color=colour, lw=1.4, label=f"{label} ({total:,})")
        for point in scored.points:
            axes.axvline(point.threshold or 0.0, color=theme.ink, lw=1, ls=":")
            axes.annotate(
                f"FMR {point.fmr:g}", (point.threshold or 0.0, 1), xycoords=axes.get_xaxis_transform(),
                xytext=(2, -3), textcoords="offset points", rotation=90, va="top", fontsize="small",
            )  # fmt: skip
        axes.set_xlim(*score_range([scored]))
        # space for the labels of the thresholds
        axes.set_ylim(0, 1.35 * axes.dataLim.y1 if scored.points else None)
        axes.set_xlabel("score")
        axes.set_ylabel("share of comparisons, %")
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, labelcolor=theme.ink,
            fontsize="small",
        )  # fmt: skip

    return draw
