"""The numbers of all models side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from facekd.reporting.cells import page_cell, percent
from facekd.reporting.page import Cell, Section, Table
from facekd.reporting.result_sections._base import RESULT_SECTIONS, ResultsPage, page_rows
from facekd.reporting.table_text import table_notes
from facekd.verification import OperatingPoint
from facekd.verification.results import (
    AllPairsResult,
    IdentificationResult,
    PairResult,
    Result,
    ScoreResult,
)

Row = tuple[str | Cell, ...]


@RESULT_SECTIONS.register(30)
def numbers(page: ResultsPage) -> Iterator[Section]:
    """The table with intervals, the thresholds, the folds, and notes."""
    results = page.results
    columns = [dict(page_rows(result)) for result in results.values()]
    titles = dict.fromkeys(title for column in columns for title in column)
    rows: tuple[Row, ...] = tuple(
        (title, *(page_cell(column.get(title, "-")) for column in columns)) for title in titles
    )
    table = Table(("Measure", *results), rows, "Rates in %, with their 95 % intervals below")
    notes = dict.fromkeys(note for result in results.values() for note in table_notes(result))
    more = (_thresholds_table(results), _folds_table(results))
    yield Section("Numbers", tuple(notes), (table, *(made for made in more if made)))


def _thresholds_table(results: Mapping[str, Result]) -> Table | None:
    points = {name: _points(result) for name, result in results.items()}
    titles = dict.fromkeys(title for column in points.values() for title in column)
    if not titles:
        return None
    rows: tuple[Row, ...] = tuple(
        (title, *(column.get(title, Cell("-")) for column in points.values())) for title in titles
    )
    return Table(("At", *results), rows, "Thresholds on the score, and the errors at each")


def _points(result: Result) -> dict[str, Cell]:
    """The thresholds of ``result`` by their rates."""
    if isinstance(result, IdentificationResult):
        return {
            f"FPIR {p.fpir:g}": Cell(f"{p.threshold:.4f}", f"{p.false_positives or 0:,} false positives")
            for p in result.points
            if p.threshold is not None
        }
    listed: Sequence[OperatingPoint] = ()
    everyone: Sequence[OperatingPoint] = ()
    if isinstance(result, PairResult):
        listed, everyone = result.rates.points, result.everyone_points
    elif isinstance(result, ScoreResult):
        listed = result.points
    elif isinstance(result, AllPairsResult):
        everyone = result.points
    return {
        f"FMR {point.fmr:g}, {kind}": Cell(
            f"{point.threshold:.4f}", f"{point.false_matches or 0:,} false matches"
        )
        for kind, points in (("listed pairs", listed), ("all pairs", everyone))
        for point in points
        if point.threshold is not None
    }


def _folds_table(results: Mapping[str, Result]) -> Table | None:
    folds = {name: found.folds for name, found in results.items() if isinstance(found, PairResult)}
    if not folds:
        return None
    first = next(iter(folds.values()))
    rows = tuple(
        (fold.name, *(f"{percent(own[n].accuracy)} ({own[n].threshold:.4f})" for own in folds.values()))
        for n, fold in enumerate(first)
    )
    return Table(("Fold", *folds), rows, "Accuracy of each fold in % (at the threshold of the other folds)")
