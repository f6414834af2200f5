"""A training run as one page: the student's score beside its teacher's, and the learning curve."""

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
    "TAR at FMR 1e-3: the share of mated comparisons that match, at the threshold at which one in a "
    "thousand non-mated comparisons matches. It is measured over all pairs of crops of people who were held "
    "out from training. It selects the checkpoint that is exported, and is therefore slightly too high for "
    "the student. Measure the exported student with facekd evaluate before you quote a number."
)


def write_run_page(metrics: Metrics, name: str, path: str | os.PathLike[str]) -> Path:
    """Write the page of the run ``name`` to ``path``, from the lines of its ``metrics.jsonl``.

    Raises `InputOutput` if the page cannot be written.
    """
    sections = [Section("Held-out people", (_EXPLAINED,), (_scores(metrics),)), *_curve(metrics)]
    return write_page(path, dated_page(f"The run {name}", _headlines(metrics), sections))


def _headlines(metrics: Metrics) -> Iterator[str]:
    seen = max((record["images"] for record in metrics if "images" in record), default=0)
    yield f"The student saw {seen:,} images."
    student, teacher = _last(metrics, SCORE), _last(metrics, TEACHER_SCORE)
    if student is not None:
        within, own = (_in_brackets(_between(metrics, key)) for key in (INTERVAL, TEACHER_INTERVAL))
        beside = f"; its teacher matches {percent(teacher)} %{own}" if teacher is not None else ""
        yield (
            f"At FMR 1e-3 it matches {percent(student)} % of the mated pairs of the held-out "
            f"people{within}{beside}."
        )


def _last(metrics: Metrics, key: str) -> Any:
    return next((record[key] for record in reversed(metrics) if key in record), None)


def _in_brackets(interval: str) -> str:
    return f" (95 % interval {interval})" if interval else ""


def _between(metrics: Metrics, key: str) -> str:
    """The last interval with that ``key``; empty if none was measured."""
    found = _last(metrics, key)
    return f"{percent(found[0])} to {percent(found[1])}" if found else ""


def _scores(metrics: Metrics) -> Table:
    """All held-out scores of the student, and the teacher's own score."""
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
    caption = "Held-out TAR; 95 % intervals over people below the teacher's and the last one"
    return Table(("Network", "TAR at FMR 1e-3"), (("the teacher itself", own), *rows), caption)


def _curve(metrics: Metrics) -> Iterator[Section]:
    drawn = tuple(drawing.picture() for drawing in run_drawings(metrics))
    if drawn:
        yield Section("Learning curve", pictures=drawn)
