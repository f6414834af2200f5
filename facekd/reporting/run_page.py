"""How a run went, as one page: the student's score beside its teacher's, and the learning curve."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facekd.reporting.cells import percent
from facekd.reporting.learning_curve import SCORE, TEACHER_SCORE, learning_curve
from facekd.reporting.page import Picture, Section, Table, dated_page, write_page

Metrics = Sequence[Mapping[str, Any]]

_UNKNOWN = "not measured: no teacher that rests, nobody held out, or too few people"


def write_run_page(metrics: Metrics, name: str, path: str | os.PathLike[str]) -> Path:
    """Write the page of the run ``name`` to ``path``, from the lines of its ``metrics.jsonl``.

    Raises `InputOutput` where the page cannot be written.
    """
    sections = [Section("Held-out people", tables=(_scores(metrics),)), *_curve(metrics)]
    return write_page(path, dated_page(f"The run {name}", _headlines(metrics), sections))


def _headlines(metrics: Metrics) -> Iterator[str]:
    seen = max((record["images"] for record in metrics if "images" in record), default=0)
    yield f"The student saw {seen:,} images."
    student, teacher = _last(metrics, SCORE), _last(metrics, TEACHER_SCORE)
    if student is not None:
        beside = f"; its teacher finds {percent(teacher)} %" if teacher is not None else ""
        yield f"At FMR 1e-3 it finds {percent(student)} % of the mated pairs of the held-out people{beside}."


def _last(metrics: Metrics, key: str) -> float | None:
    return next((float(record[key]) for record in reversed(metrics) if key in record), None)


def _scores(metrics: Metrics) -> Table:
    """Every look at the held-out people, and the teacher's own score."""
    teacher = _last(metrics, TEACHER_SCORE)
    own = f"{percent(teacher)} %" if teacher is not None else _UNKNOWN
    looks = tuple(
        (f"student, after {record['images']:,} images", f"{percent(record[SCORE])} %")
        for record in metrics
        if SCORE in record
    )
    return Table(("", "TAR at FMR 1e-3"), (("the teacher itself", own), *looks))


def _curve(metrics: Metrics) -> Iterator[Section]:
    figure = learning_curve(metrics)
    if figure is not None:
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
        told = "The loss over the images seen, and the held-out TAR beside the teacher's."
        yield Section("Learning curve", pictures=(Picture(drawn.getvalue(), told),))
