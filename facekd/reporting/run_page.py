"""How a run went, as one page: the student's score beside its teacher's, and the learning curve."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facekd.reporting.cells import percent
from facekd.reporting.learning_curve import SCORE, TEACHER_SCORE, Metrics, run_drawings
from facekd.reporting.page import Cell, Section, Table, dated_page, write_page

#: the 95 % intervals: of the student's last score, and of the teacher's
INTERVAL, TEACHER_INTERVAL = "heldout_interval", "teacher_heldout_interval"
_UNKNOWN = "not measured: no frozen teacher, nobody held out, or too few people"
_EXPLAINED = (
    "TAR at FMR 1e-3: the share of comparisons of one person that match, at the threshold that lets one in a "
    "thousand comparisons of different people match. It is measured on people who were held out from "
    "training, over all pairs of their crops, and chooses the checkpoint that is exported: so it flatters "
    "the student a little. Measure the exported student with facekd evaluate before you quote a number."
)


def write_run_page(metrics: Metrics, name: str, path: str | os.PathLike[str]) -> Path:
    """Write the page of the run ``name`` to ``path``, from the lines of its ``metrics.jsonl``.

    Raises `InputOutput` where the page cannot be written.
    """
    sections = [Section("Held-out people", (_EXPLAINED,), (_scores(metrics),)), *_curve(metrics)]
    return write_page(path, dated_page(f"The run {name}", _headlines(metrics), sections))


def _headlines(metrics: Metrics) -> Iterator[str]:
    seen = max((record["images"] for record in metrics if "images" in record), default=0)
    yield f"The student saw {seen:,} images."
    student, teacher = _last(metrics, SCORE), _last(metrics, TEACHER_SCORE)
    if student is not None:
        within, own = (_in_brackets(_between(metrics, key)) for key in (INTERVAL, TEACHER_INTERVAL))
        beside = f"; its teacher finds {percent(teacher)} %{own}" if teacher is not None else ""
        yield (
            f"At FMR 1e-3 it finds {percent(student)} % of the mated pairs of the held-out "
            f"people{within}{beside}."
        )


def _last(metrics: Metrics, key: str) -> Any:
    return next((record[key] for record in reversed(metrics) if key in record), None)


def _in_brackets(interval: str) -> str:
    return f" (95 % interval {interval})" if interval else ""


def _between(metrics: Metrics, key: str) -> str:
    """The last interval of that ``key``; nothing where none was measured."""
    found = _last(metrics, key)
    return f"{percent(found[0])} to {percent(found[1])}" if found else ""


def _scores(metrics: Metrics) -> Table:
    """Every look at the held-out people, and the teacher's own score."""
    teacher = _last(metrics, TEACHER_SCORE)
    own = Cell(_UNKNOWN)
    if teacher is not None:
        own = Cell(f"{percent(teacher)} %", _between(metrics, TEACHER_INTERVAL))
    looks = [record for record in metrics if SCORE in record]
    rows = tuple(
        (
            f"student, after {record['images']:,} images",
            Cell(f"{percent(record[SCORE])} %", _between(metrics, INTERVAL) if record is looks[-1] else ""),
        )
        for record in looks
    )
    caption = "Held-out TAR; below the teacher's and the last one their 95 % intervals over people"
    return Table(("Network", "TAR at FMR 1e-3"), (("the teacher itself", own), *rows), caption)


def _curve(metrics: Metrics) -> Iterator[Section]:
    drawn = tuple(drawing.picture() for drawing in run_drawings(metrics))
    if drawn:
        yield Section("Learning curve", pictures=drawn)
