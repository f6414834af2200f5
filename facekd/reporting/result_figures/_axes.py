"""Axes helpers that several figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from facekd.reporting.drawing import Theme, legend_above
from facekd.verification import FEWEST_FALSE_MATCHES, Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: points of a curve that are drawn
_POINTS = 400
LegendPlace = Literal["above", "best"]
#: why a curve ends, for matches or for positives
CUT = f"The curves end where fewer than {FEWEST_FALSE_MATCHES} false {{}} are left."

Floats = NDArray[np.float64]


def thinned(x: Floats, y: Floats, most: int = _POINTS) -> tuple[Floats, Floats]:
    """At most about ``most`` points of a curve, including both ends, evenly spaced along its
    length as drawn; a curve with fewer points is unchanged."""
    if x.size <= most:
        return x, y
    way = np.linspace(0, 1, x.size)
    # an axis may be linear or logarithmic
    for values in (x, y, *[np.log(rates) for rates in (x, y) if rates.min() > 0]):
        steps = np.abs(np.diff(values))
        way[1:] += np.cumsum(steps) / max(steps.sum(), 1e-300)
    kept = np.searchsorted(way, np.linspace(0, way[-1], most)).clip(0, x.size - 1)
    # a jump longer than the distance between two points keeps both its ends
    before = np.flatnonzero(np.diff(way) > way[-1] / most)
    kept = np.unique(np.concatenate([kept, before, before + 1]))
    return x[kept], y[kept]


def rate_axis(axes: Axes, which: str) -> None:
    """A log axis for a rate, labelled at powers of ten; a linear one if it spans less than one."""
    axis, shown = axes.xaxis if which == "x" else axes.yaxis, axes.dataLim
    least, most = (shown.minposx, shown.x1) if which == "x" else (shown.minposy, shown.y1)
    if most <= 0 or np.floor(np.log10(most)) < np.ceil(np.log10(least)):
        return
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    axis.set_major_formatter(lambda rate, _: f"{rate:g}".replace("e-0", "e-"))
    axis.set_minor_formatter(lambda *_: "")
    axes.grid(False, which="minor")


def legend(axes: Axes, theme: Theme, place: LegendPlace) -> None:
    """Place the legend where the curves leave the most room inside the axes, or ``above`` them."""
    if not axes.get_legend_handles_labels()[0]:
        axes.text(0.5, 0.5, "insufficient data", ha="center", transform=axes.transAxes)
    elif place == "above":
        legend_above(axes, theme)
    else:
        axes.legend(loc=place, frameon=False, labelcolor=theme.ink, fontsize="small")


def score_range(shown: Sequence[Scored]) -> tuple[float, float]:
    return min(float(s.edges[0]) for s in shown), max(float(s.edges[-1]) for s in shown)
