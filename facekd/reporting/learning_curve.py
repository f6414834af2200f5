"""Plots of a training run: its loss, and its TAR on held-out people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.reporting.drawing import DASHES, LIGHT, WIDTH, Drawing, Theme, figure_of
from facekd.reporting.output_files import draw as draw_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metrics = Sequence[Mapping[str, Any]]

#: keys of a line of metrics that are not part of the loss
_NO_PARTS = {"step", "images", "loss", "rate", "images_per_second", "gradient_norm", "seconds"}
#: the keys of the metrics: the student's score, and the teacher's own
SCORE, TEACHER_SCORE = "heldout_tar_1e-3", "teacher_heldout_tar_1e-3"
_HEIGHT = 2.7


def run_drawings(metrics: Metrics) -> Iterator[Drawing]:
    """The loss with its parts over the images seen, and the held-out TAR at FMR 1e-3 beside the teacher's
    own; from the lines of a run's ``metrics.jsonl``. None if fewer than two steps were logged."""
    logged = [record for record in metrics if "loss" in record]
    if len(logged) < 2:
        return
    yield _loss(logged)
    judged = [record for record in metrics if SCORE in record]
    if judged:
        yield _heldout(judged, [record[TEACHER_SCORE] for record in metrics if TEACHER_SCORE in record])


def _loss(logged: Metrics) -> Drawing:
    names = ["loss", *dict.fromkeys(key for record in logged for key in record if key not in _NO_PARTS)]
    # a loss with one part equals that part
    shown = names if len(names) > 2 else names[:1]

    def draw(axes: Axes, theme: Theme) -> None:
        for place, name in enumerate(shown):
            points = [(record["images"], record[name]) for record in logged if name in record]
            axes.plot(
                *zip(*points, strict=True), color=theme.colour(place), label=name, lw=1.4,
                ls=DASHES[place % len(DASHES)],
            )  # fmt: skip
        axes.set_ylabel("loss")
        if all(record["loss"] > 0 for record in logged):
            axes.set_yscale("log")
        _finish(axes, theme)

    first, last = logged[0]["loss"], logged[-1]["loss"]
    alt = f"The loss over the images seen: {first:.3g} at first, {last:.3g} at last."
    parts = ", and its weighted parts" if len(shown) > 1 else ""
    return Drawing("loss", draw, _HEIGHT, alt, f"The loss that training minimises{parts}.")


def _heldout(judged: Metrics, teachers: Sequence[float]) -> Drawing:
    points = [(record["images"], 100 * record[SCORE]) for record in judged]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.plot(*zip(*points, strict=True), "o-", color=theme.colour(0), label="student")
        for score in teachers:
            axes.axhline(100 * score, color=theme.colour(1), linestyle="--", label="teacher")
        axes.set_ylabel("TAR at FMR 1e-3, %")
        axes.set_ylim(0, 100)
        _finish(axes, theme)

    beside = f", beside {100 * teachers[0]:.2f} % of its teacher" if teachers else ""
    alt = f"The student's held-out TAR over the images seen: {points[-1][1]:.2f} % at last{beside}."
    caption = "TAR at FMR 1e-3 over all pairs of the held-out people that choose the checkpoint."
    return Drawing("heldout", draw, _HEIGHT, alt, caption)


def _finish(axes: Axes, theme: Theme) -> None:
    axes.set_xlabel("images seen")
    axes.xaxis.set_major_formatter(lambda images, _: f"{images:,.0f}")
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, labelcolor=theme.ink,
        fontsize="small",
    )  # fmt: skip


def learning_curve(metrics: Metrics) -> Figure | None:
    """`run_drawings` over one axis of images, as one figure; `None` if there is nothing to draw yet."""
    drawings = list(run_drawings(metrics))
    if not drawings:
        return None
    height = sum(drawing.height for drawing in drawings)
    figure = figure_of([drawing.draw for drawing in drawings], LIGHT, WIDTH, height, stacked=True)
    for axes in figure.axes:
        axes.label_outer()
    return figure


def write_learning_curve(metrics: Metrics, path: Path) -> bool:
    """Draw `learning_curve` to the PNG file ``path``; false if there is nothing to draw yet."""
    figure = learning_curve(metrics)
    if figure is not None:
        draw_file(figure, path)
    return figure is not None
