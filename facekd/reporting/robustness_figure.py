"""The accuracy lost on degraded photos, as a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from facekd.preprocess import DEGRADATIONS
from facekd.reporting.drawing import LIGHT, Draw, Drawing, Theme, legend_above, legend_height, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from facekd.verification.results import Degraded, RobustnessReport

_ACCURACY, _TAR = "accuracy", "TAR at FMR 0.001"


def robustness_figure(report: RobustnessReport) -> Figure:
    """A panel for each kind of degradation, from mild to severe: accuracy (solid) and, if the list is
    large enough, TAR at FMR 1e-3 over all pairs (dashed), with 95 % intervals, one colour for each model."""
    from matplotlib.figure import Figure

    kinds = _kinds()
    figure = Figure(figsize=(14, 7), dpi=150, layout="constrained")
    grid = figure.subplots(2, -(-len(kinds) // 2), sharey=True)
    for axes, kind in zip(grid.flat, kinds, strict=False):
        kind_draw(report, kind)(axes, LIGHT)
        axes.set_title(kind, fontsize="medium", loc="left")
    for axes in grid[:, 0]:
        axes.set_ylabel("rate, %")
    for axes in grid.flat[len(kinds) :]:
        axes.set_axis_off()
    handles, labels = grid.flat[0].get_legend_handles_labels()
    spare = grid.flat[len(kinds)] if grid.size > len(kinds) else grid.flat[0]
    spare.legend(
        handles, labels, frameon=False, loc="center left", title=f"degraded: {report.side}", fontsize="small"
    )
    return figure


def robustness_drawings(report: RobustnessReport) -> Iterator[Drawing]:
    """The panels of `robustness_figure`, a drawing for each kind of degradation."""
    labels = [_label(name, rate) for name in report.models for rate in (_ACCURACY, _TAR)]
    height, lowest = 2.8 + legend_height(labels), _lowest(report)
    for kind in _kinds():
        draw = _with_legend(kind_draw(report, kind), lowest)
        yield Drawing(kind, draw, height, _told(report, kind), _caption(kind))


def _kinds() -> list[str]:
    return list(dict.fromkeys(degradation.kind for degradation in DEGRADATIONS))


def _caption(kind: str) -> str:
    return (
        f"{kind[0].upper()}{kind[1:]}: accuracy (solid) and, if the list is large enough, TAR at FMR 0.001 "
        "over all pairs (dashed), with 95 % intervals."
    )


def _told(report: RobustnessReport, kind: str) -> str:
    """The accuracies at the mildest and the worst level, as a text alternative."""
    falls = []
    for name, rows in report.models.items():
        last = [row for row in rows if row.degradation.kind == kind][-1]
        clean, worst = (100 * row.result.accuracy.mean for row in (rows[0], last))
        falls.append(f"{name} goes from {clean:.2f} % to {worst:.2f} % at {last.degradation.level}")
    return f"Accuracy under {kind}: {'; '.join(falls)}."


def kind_draw(report: RobustnessReport, kind: str) -> Draw:
    """Each model from clean crops over the levels of ``kind``."""

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, rows) in enumerate(report.models.items()):
            shown = [rows[0], *[row for row in rows[1:] if row.degradation.kind == kind]]
            _draw(axes, shown, theme.colour(place), name)

    return draw


def _lowest(report: RobustnessReport) -> float:
    """The lowest rate in any panel, in %: all panels share one scale, so that they can be compared."""
    rows = [row for rows in report.models.values() for row in rows]
    low = [row.result.accuracy.interval.low for row in rows]
    points = [point for row in rows for point in row.result.everyone_points[:1]]
    return 100 * min(low + [point.interval.low for point in points if point.interval])


def _with_legend(inner: Draw, lowest: float) -> Draw:
    def draw(axes: Axes, theme: Theme) -> None:
        inner(axes, theme)
        axes.set_ylim(lowest - 0.05 * (100 - lowest), 100 + 0.05 * (100 - lowest))
        axes.set_ylabel("rate, %")
        legend_above(axes, theme)

    return draw


def _draw(axes: Axes, rows: Sequence[Degraded], colour: str, name: str) -> None:
    levels = ["none", *[row.degradation.level for row in rows[1:]]]
    places = np.arange(len(rows))
    accuracies = [row.result.accuracy for row in rows]
    bounds = [(a.mean, a.interval.low, a.interval.high) for a in accuracies]
    _line(axes, places, bounds, "-", colour, _label(name, _ACCURACY))
    points = [row.result.everyone_points[0] if row.result.everyone_points else None for row in rows]
    known = [(p.tar, p.interval.low, p.interval.high) for p in points if p and p.tar and p.interval]
    if len(known) == len(rows):
        _line(axes, places, known, "--", colour, _label(name, _TAR))
    axes.set_xticks(places, levels, fontsize="small", rotation=20)
    axes.grid(True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _label(name: str, rate: str) -> str:
    return f"{short_name(name)}, {rate}"


def _line(
    axes: Axes,
    places: np.ndarray,
    bounds: Sequence[tuple[float, float, float]],
    style: str,
    colour: str,
    label: str,
) -> None:
    values, low, high = 100 * np.array(bounds).T
    beyond = np.clip(np.stack([values - low, high - values]), 0, None)
    axes.errorbar(
        places, values, beyond, linestyle=style, color=colour, label=label, capsize=2, linewidth=1.5
    )
