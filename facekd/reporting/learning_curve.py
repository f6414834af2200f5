"""How a run went, as a picture: what it minimised, and what it was worth on held-out people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.reporting.drawing import LIGHT, WIDTH
from facekd.reporting.output_files import draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: of a line of metrics what is no part of the loss
_NO_PARTS = {"step", "images", "loss", "rate", "images_per_second", "gradient_norm", "seconds"}
#: the keys of the metrics: the student's score, and the teacher's own
SCORE, TEACHER_SCORE = "heldout_tar_1e-3", "teacher_heldout_tar_1e-3"


def learning_curve(metrics: Sequence[Mapping[str, Any]]) -> Figure | None:
    """The loss with its parts over the images seen, and below it the held-out TAR at FMR 1e-3, beside the
    teacher's own; from the lines of a run's ``metrics.jsonl``. `None` where fewer than two steps were logged.
    """
    from matplotlib.figure import Figure

    logged = [record for record in metrics if "loss" in record]
    judged = [record for record in metrics if SCORE in record]
    if len(logged) < 2:
        return None
    figure = Figure(figsize=(WIDTH, 2.6 * (2 if judged else 1)), dpi=150, layout="constrained")
    panels = figure.subplots(2 if judged else 1, sharex=True, squeeze=False)[:, 0]
    names = ["loss", *dict.fromkeys(key for record in logged for key in record if key not in _NO_PARTS)]
    for place, name in enumerate(names if len(names) > 2 else names[:1]):
        points = [(record["images"], record[name]) for record in logged if name in record]
        panels[0].plot(*zip(*points, strict=True), color=LIGHT.colour(place), label=name, linewidth=1.2)
    panels[0].set_ylabel("loss")
    if all(record["loss"] > 0 for record in logged):
        panels[0].set_yscale("log")
    panels[0].legend(frameon=False, fontsize="small")
    if judged:
        points = [(record["images"], record[SCORE]) for record in judged]
        panels[1].plot(*zip(*points, strict=True), "o-", color=LIGHT.colour(0), label="student")
        for record in metrics:
            if TEACHER_SCORE in record:
                panels[1].axhline(
                    record[TEACHER_SCORE], color=LIGHT.colour(1), linestyle="--", label="teacher"
                )
        panels[1].set_ylabel("held-out TAR at FMR 1e-3")
        panels[1].set_ylim(0, 1)
        panels[1].legend(frameon=False, fontsize="small")
    panels[-1].set_xlabel("images seen")
    for panel in panels:
        panel.grid(color=LIGHT.grid)
    return figure


def write_learning_curve(metrics: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw `learning_curve` into the PNG file ``path``; false where there is nothing to draw yet."""
    figure = learning_curve(metrics)
    if figure is not None:
        draw(figure, path)
    return figure is not None
