"""One style for every picture: drawn by one function for paper, a light screen or a dark screen."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facekd.reporting.page import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: inches; narrow, so that text stays legible on a phone
WIDTH = 5.2
#: distinguishable without colours too
DASHES = ("-", "--", "-.", ":")
_LONGEST_NAME = 28
#: the longest legend entry, in letters, for two entries in a row
_SIDE_BY_SIDE = 26
_LEGEND_ROW = 0.17


@dataclass(frozen=True)
class Theme:
    """Colours of one screen; ``series`` are distinguishable by colour-blind readers (Okabe, Ito); ``paper``
    is the background."""

    paper: str
    ink: str
    grid: str
    series: tuple[str, ...]

    @property
    def colours(self) -> tuple[str, ...]:
        """All of them, in the same order for every theme."""
        return (self.paper, self.ink, self.grid, *self.series)

    def colour(self, place: int) -> str:
        """The colour of the model at ``place``; colours repeat."""
        return self.series[place % len(self.series)]


LIGHT = Theme(
    "#ffffff", "#1d2530", "#d5dae1", ("#0072b2", "#d55e00", "#00805a", "#a8508a", "#7a6a00", "#555555")
)  # fmt: skip
DARK = Theme(
    "#14181e", "#e6eaf0", "#3a4350", ("#56b4e9", "#f5935a", "#3fcf9f", "#e39bc6", "#e5d54a", "#b5b5b5")
)  # fmt: skip

#: what a drawing draws is the same in every theme, but for its colours
Draw = Callable[["Axes", Theme], None]


@dataclass(frozen=True)
class Drawing:
    """A picture before it is drawn. ``name`` identifies it among others of the same result, ``draw`` draws
    it, ``height`` is in inches; ``alt`` is its text alternative. ``empty`` is true if the data cannot show
    anything: a page then leaves it out."""

    name: str
    draw: Draw
    height: float
    alt: str
    caption: str
    empty: bool = False

    def figure(self, theme: Theme = LIGHT) -> Figure:
        """The drawing alone."""
        return figure_of([self.draw], theme, WIDTH, self.height)

    def picture(self) -> Picture:
        """The drawing for a page, as SVG for a light and for a dark screen."""
        light = _svg(self.figure(LIGHT))
        return Picture(light, self.alt, self.caption, dark=_recoloured(light, LIGHT, DARK))


def figure_of(
    draws: Sequence[Draw], theme: Theme, width: float, height: float, stacked: bool = False
) -> Figure:
    """A figure of what ``draws`` draw in ``width`` x ``height`` inches, side by side or ``stacked`` over
    one x axis."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 10, "text.parse_math": False, "axes.edgecolor": theme.grid, "axes.grid": True,
        "axes.labelcolor": theme.ink, "text.color": theme.ink, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with mpl.rc_context(style):
        figure: Figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        rows, columns = (len(draws), 1) if stacked else (1, len(draws))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=stacked).flat
        for axes, draw in zip(grid, draws, strict=True):
            # ticks are made when the figure is drawn, after the style context has ended
            axes.tick_params(which="both", colors=theme.ink, grid_color=theme.grid, grid_linewidth=0.6)
            draw(axes, theme)
    return figure


def _svg(figure: Figure) -> bytes:
    import matplotlib as mpl

    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    salt: Any = {"svg.hashsalt": "facekd"}
    with mpl.rc_context(salt), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes; the table has it in full
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    return buffer.getvalue()


def _recoloured(svg: bytes, old: Theme, new: Theme) -> bytes:
    """``svg`` with the colours of ``new`` in place of those of ``old``: to draw it again takes far longer."""
    instead = {a.encode(): b.encode() for a, b in zip(old.colours, new.colours, strict=True)}
    return re.sub(rb"#[0-9a-f]{6}\b", lambda found: instead.get(found[0], found[0]), svg)


def short_name(name: str) -> str:
    """A name that fits beside a bar, without a leading underscore, which would hide its legend entry. Its
    middle is left out: versions differ at the end, directions of a comparison at both ends."""
    half = _LONGEST_NAME // 2
    short = name if len(name) <= _LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"
    return f" {short}" if short.startswith("_") else short


def legend_above(axes: Axes, theme: Theme) -> None:
    """Place a legend above the axes, in as many columns as its entries allow."""
    labels = axes.get_legend_handles_labels()[1]
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=_legend_columns(labels), frameon=False,
        labelcolor=theme.ink, fontsize="small", handlelength=1.5, columnspacing=1,
    )  # fmt: skip


def legend_height(labels: Sequence[str]) -> float:
    """The height in inches of `legend_above` with these ``labels``."""
    return _LEGEND_ROW * -(-len(labels) // _legend_columns(labels))


def _legend_columns(labels: Sequence[str]) -> int:
    return 2 if len(labels) > 1 and max(map(len, labels)) <= _SIDE_BY_SIDE else 1
