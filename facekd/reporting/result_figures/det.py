"""The DET: both error rates on normal-deviate axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from facekd.reporting.drawing import Draw, Drawing, Theme, short_name
from facekd.reporting.result_figures._axes import legend, thinned
from facekd.reporting.result_figures._base import RESULT_FIGURES, ComparedResults
from facekd.verification import DET_RATES, Roc, det_of, normal_deviate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@RESULT_FIGURES.register(20)
def det(compared: ComparedResults) -> Iterator[Drawing]:
    """For each model's largest set of comparisons."""
    if compared.widest:
        over = next(iter(compared.widest.values())).comparisons
        well = {name: part.well_counted for name, part in compared.widest.items()}
        yield Drawing(
            "det", det_draw(well), 4.8, f"DET of {', '.join(well)}: FNMR over FMR on normal-deviate axes.",
            f"DET over {over}: both error rates on normal-deviate axes; lower and further left is better.",
            empty=not any(det_of(curve).x.size > 1 for curve in well.values()),
        )  # fmt: skip


def det_draw(models: Mapping[str, Roc]) -> Draw:
    """FNMR over FMR on normal-deviate axes, on which points with a rate of 0 cannot be drawn.

    Each axis begins at the lowest rate above 0 in the data, about one error, and at most at 10 %.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    def draw(axes: Axes, theme: Theme) -> None:
        # an axis that begins higher would leave hardly any curve
        lowest = normal_deviate([0.1, 0.1])
        for place, (name, curve) in enumerate(models.items()):
            det = det_of(curve)
            # nobody operates above one half, and the interesting corner would shrink
            inside = (det.fmr <= 0.5) & (det.fnmr <= 0.5)
            x, y = thinned(det.x[inside], det.y[inside])
            axes.plot(x, y, color=theme.colour(place), label=short_name(name), lw=1.7)
            if det.x.size:
                lowest = np.minimum(lowest, [det.x.min(), det.y.min()])
        left, bottom = lowest - 0.15
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator(normal_deviate(DET_RATES).tolist()))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda place, _: _percent(_rate_at(place))))
        axes.set(xlim=(left, 0.15), ylim=(bottom, 0.15), aspect="equal")
        axes.tick_params(axis="x", labelrotation=45)
        axes.set_xlabel("FMR, %")
        axes.set_ylabel("FNMR, %")
        legend(axes, theme, "best")

    return draw


def _rate_at(place: float) -> float:
    return min(DET_RATES, key=lambda rate: abs(float(normal_deviate(rate)) - place))


def _percent(rate: float) -> str:
    return f"{100 * rate:g}" if rate >= 1e-5 else "0.0001"
