"""The accuracy lost on degraded photos, as one page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from facekd.reporting.cells import page_cell, percent
from facekd.reporting.lost_photos import lost_photos_tables
from facekd.reporting.page import Cell, Section, Table, dated_page, write_page
from facekd.reporting.reading_words import reading_section
from facekd.reporting.robustness_figure import robustness_drawings
from facekd.reporting.robustness_tables import COLUMNS, robustness_cells, robustness_columns
from facekd.reporting.text import lines
from facekd.verification import Interval
from facekd.verification.results import Degraded, RobustnessReport


def write_robustness_page(path: str | os.PathLike[str], found: RobustnessReport) -> Path:
    """Write the page of ``found`` to ``path``; it shows no faces.

    Raises `InputOutput` if the page cannot be written.
    """
    title = f"Accuracy of {' and '.join(found.models)} on degraded photos of {found.protocol}"
    return write_page(path, dated_page(title, _headlines(found), _sections(found)))


def _headlines(found: RobustnessReport) -> Iterator[str]:
    for name, (clean, *worse) in found.models.items():
        worst = min(worse, key=lambda row: row.result.accuracy.mean)
        yield (
            f"{name} decides {_accuracy(clean)} of the pairs of clean crops correctly, and "
            f"{_accuracy(worst)} of the most degraded ones ({worst.degradation.name})."
        )
        kept = [(row.kept.fmr, row.kept.intervals[0], row) for row in worse if row.kept]
        if kept:
            fmr, interval, row = max(kept, key=lambda entry: entry[0])
            yield (
                f"At the threshold with FMR 0.01 on clean crops, the highest FMR is {_rate(fmr, interval)} "
                f"({row.degradation.name})."
            )


def _accuracy(row: Degraded) -> str:
    return _rate(row.result.accuracy.mean, row.result.accuracy.interval)


def _rate(value: float, interval: Interval | None) -> str:
    told = f"{percent(value)} %"
    return f"{told} ({percent(interval.low)} to {percent(interval.high)})" if interval else told


def _sections(found: RobustnessReport) -> Iterator[Section]:
    facts = (
        ("Protocol", found.protocol),
        ("List", Path(found.source).name),
        ("Data", found.data.name),
        ("Detector", found.detector),
        ("Aligner", found.aligner),
        ("Degraded", found.side),
        ("Photos", f"{found.photos:,} named, {len(found.failures):,} without crop"),
    )
    lost = lost_photos_tables(found.failures, "Photos without crop")
    yield Section("What was measured", tables=(Table(("Given", "Value"), facts, "This measurement"), *lost))
    yield Section("Numbers", tuple(lines(found)), tuple(_table(*model) for model in found.models.items()))
    yield Section("Pictures", pictures=tuple(drawn.picture() for drawn in robustness_drawings(found)))
    columns = {column for rows in found.models.values() for column in robustness_columns(rows)}
    yield reading_section([_heading(column) for column in (*COLUMNS, *columns)])


def _table(name: str, rows: tuple[Degraded, ...]) -> Table:
    columns = ("Degradation", *map(_heading, robustness_columns(rows)))
    cells: tuple[tuple[str | Cell, ...], ...] = tuple(
        (row.degradation.name, *map(page_cell, robustness_cells(row))) for row in rows
    )
    return Table(columns, cells, f"{name}: rates in %, with their 95 % intervals below")


def _heading(column: str) -> str:
    """A column's name without its line break."""
    return column.replace("\n", " ")
