"""The similarity of groups to a model: heat maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.reporting.drawing import LIGHT, Draw, Drawing, Theme, figure_of
from facekd.reporting.group_tables import rate_cell
from facekd.verification.results import GroupRates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def heat_maps(rates: GroupRates) -> Figure:
    """`group_drawings` side by side, for an image file."""
    drawings = list(group_drawings("", rates))
    width = 2 * (2.5 + 0.7 * len(rates.names))
    return figure_of([drawing.draw for drawing in drawings], LIGHT, width, drawings[0].height)


def group_drawings(model: str, rates: GroupRates) -> Iterator[Drawing]:
    """The FMR of ``model`` between groups, and the mean non-mated score."""
    count = len(rates.names)
    height = 2 + 0.6 * count
    fmr = np.array([[rates.fmr_of(a, b).rate or np.nan for b in range(count)] for a in range(count)])
    # adding zero turns the -0 of a rounded small number into 0
    likeness = rates.likeness.round(3) + 0
    title = f"FMR in %, threshold of FMR {rates.fmr:g} over everybody"
    yield Drawing(
        "group fmr",
        _map(
            100 * fmr,
            _scale(100 * fmr),
            lambda a, b: rate_cell(rates.fmr_of(a, b)),
            rates.names,
            "FMR, %",
            title,
        ),
        height,
        f"Heat map of the FMR of {model} between groups. {_extremes(fmr, rates.names, 100, ' %')}",
        f"{model}: FMR between groups, in %, at the threshold of FMR {rates.fmr:g} over everybody.",
    )
    yield Drawing(
        "group scores",
        _map(
            rates.likeness, None, lambda a, b: f"{likeness[a, b]:.3f}", rates.names, "score",
            "Mean non-mated score",
        ),
        height,
        f"Heat map of the mean non-mated score of {model} between groups. "
        f"{_extremes(rates.likeness, rates.names)}",
        f"{model}: mean score of non-mated comparisons between groups.",
    )  # fmt: skip


def _extremes(values: NDArray[np.float64], names: tuple[str, ...], times: float = 1, unit: str = "") -> str:
    """The highest value in words, as a text alternative to the map."""
    if not np.isfinite(values).any():
        return "No value is known."
    one, other = np.unravel_index(int(np.nanargmax(values)), values.shape)
    most = f"{times * values[one, other]:.3f}{unit}"
    where = (
        f"within {names[int(one)]}" if one == other else f"between {names[int(one)]} and {names[int(other)]}"
    )
    return f"The highest is {most}, {where}."


def _scale(fmr: NDArray[np.float64]) -> Any:
    """A log scale of the rates above 0; `None` if there are none."""
    from matplotlib.colors import LogNorm

    shown = fmr[np.isfinite(fmr)]
    return LogNorm(shown.min(), max(shown.max(), shown.min() * 1.01)) if shown.size else None


def _map(
    values: NDArray[np.float64],
    scale: Any,
    told: Callable[[int, int], str],
    names: tuple[str, ...],
    label: str,
    title: str,
) -> Draw:
    """Each value as a coloured square with its text from ``told``."""

    def draw(axes: Axes, theme: Theme) -> None:
        from matplotlib.ticker import NullFormatter

        drawn = axes.imshow(values, cmap="viridis", norm=scale)
        box = {"facecolor": theme.paper, "alpha": 0.8, "edgecolor": "none", "pad": 1}
        for one in range(len(names)):
            for other in range(len(names)):
                axes.text(
                    other, one, told(one, other), ha="center", va="center", fontsize="small", bbox=box,
                    color=theme.ink,
                )  # fmt: skip
        axes.grid(False)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set_title(title, fontsize="medium")
        bar = axes.figure.colorbar(drawn, ax=axes, label=label, format=_plain)
        # a log scale labels powers of ten only; that is enough for several decades, but not within one
        narrow = scale is not None and np.nanmax(values) < 10 * np.nanmin(values)
        bar.ax.yaxis.set_minor_formatter(_plain if narrow else NullFormatter())
        bar.ax.tick_params(which="both", colors=theme.ink)

    return draw


def _plain(value: float, place: float | None) -> str:
    return f"{value:g}"
