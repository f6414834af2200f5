"""The ROC: TAR over FMR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from facekd.reporting.drawing import Draw, Drawing, Theme, short_name
from facekd.reporting.result_figures._axes import CUT, legend, rate_axis, thinned
from facekd.reporting.result_figures._base import RESULT_FIGURES, ComparedResults
from facekd.verification import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = {"listed pairs": ":"}


@RESULT_FIGURES.register(10)
def roc(compared: ComparedResults) -> Iterator[Drawing]:
    """Listed pairs are dotted, all pairs solid. A curve ends where fewer than 30 false matches are left;
    the band of each model's last curve is that of `confidence_bands`."""
    models = compared.curves
    if models:
        yield Drawing(
            "roc", roc_draw(models), 3.7, f"ROC of {', '.join(models)}: TAR over FMR on a log axis.",
            _caption(models), empty=not any(part.fmr.size > 1 for own in models.values() for part in own),
        )  # fmt: skip


def _caption(models: Mapping[str, Sequence[Scored]]) -> str:
    parts = [parts[-1] for parts in models.values()]
    several = any(len(found) > 1 for found in models.values())
    over = "solid: all pairs of the photos, dotted: the listed pairs" if several else parts[0].comparisons
    methods = {part.band.method for part in parts if part.band is not None}
    band = f" Bands: pointwise 95 % intervals, {' or '.join(sorted(methods))}." if methods else ""
    return f"ROC, {over}.{band} {CUT.format('matches')}"


def roc_draw(models: Mapping[str, Sequence[Scored]]) -> Draw:
    """TAR over FMR of each model's comparisons, with a band around the last of them."""

    def draw(axes: Axes, theme: Theme) -> None:
        lowest = 1.0
        for place, (name, parts) in enumerate(models.items()):
            colour, band = theme.colour(place), parts[-1].band
            if band is not None:
                low, high = 100 * band.low, 100 * band.high
                axes.fill_between(band.fmr, low, high, color=colour, alpha=0.16, lw=0)
                lowest = min(lowest, float(band.low.min()))
            for part in parts:
                if part.fmr.size:
                    axes.step(
                        *thinned(part.fmr, 100 * part.tar), _STYLES.get(part.comparisons, "-"),
                        where="post", color=colour, label=_label(name, part, parts), lw=1.7,
                    )  # fmt: skip
                    lowest = min(lowest, float(part.tar.min()))
        room = 1 - lowest
        axes.set_ylim(100 * max(0.0, lowest - 0.1 * room - 0.002), 100 * (1 + 0.02 * room + 0.0005))
        rate_axis(axes, "x")
        axes.set_xlabel("false match rate (FMR)")
        axes.set_ylabel("TAR = 1 − FNMR, %")
        legend(axes, theme, "best")

    return draw


def _label(name: str, part: Scored, parts: Sequence[Scored]) -> str:
    return f"{short_name(name)}, {part.comparisons}" if len(parts) > 1 else short_name(name)
