"""All measured rows of all models in one table, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

from facekd.benchmark import Benchmark, BenchmarkedModel, Gap, MeasuredRow, Rate, SpeedRatio, Timing, faster
from facekd.reporting import benchmark_words
from facekd.reporting.number_words import amount, milliseconds, times
from facekd.reporting.page import Cell, Table

LEGEND = (
    "Below a student's figure is its ratio to the teacher, with the middle nine tenths of the rounds in "
    "brackets. Below a rate is its 95 % interval."
)
_NUMBERS: dict[str, Callable[[float], str]] = {
    "": amount,
    "B": lambda value: amount(value, "B"),
    "bytes": lambda value: f"{value:,} bytes",
    "s": milliseconds,
}


def side_by_side(benchmark: Benchmark) -> Table:
    """A row for every figure, a column for every model; below a student's figure is its ratio to the
    teacher."""
    rows: list[tuple[str | Cell, ...]] = []
    for row in benchmark.rows:
        cells = [_cell(benchmark, row, model) for model in benchmark.models]
        if any(cells):
            rows.append((row.title, *(cell or Cell("-") for cell in cells)))
    heads = tuple(f"{model.name} ({model.role})" for model in benchmark.models)
    return Table(("Measure", *heads), tuple(rows), LEGEND)


def _cell(benchmark: Benchmark, row: MeasuredRow, model: BenchmarkedModel) -> Cell | None:
    """The figure of ``model``, compared with that of the teacher; `None` if it has none."""
    value = row.value(model)
    if value is None:
        return None
    return _told(value, row, model, None if model.role == "teacher" else benchmark.teacher)


@singledispatch
def _told(value: Any, row: MeasuredRow, model: BenchmarkedModel, teacher: BenchmarkedModel | None) -> Cell:
    """A cell for a number; the other kinds of values follow below."""
    beside = ""
    if row.ratio and teacher:
        ratio = row.times_smaller(teacher, model)
        same = abs(ratio - 1) < 0.005
        beside = "the same" if same else times(ratio, row.ratio.better, row.ratio.worse)
    return Cell(_NUMBERS[row.unit](value) + row.suffix(model), _joined(row.note(model), beside))


@_told.register
def _(value: Timing, row: MeasuredRow, model: BenchmarkedModel, teacher: BenchmarkedModel | None) -> Cell:
    pace = _pace(faster(teacher.timing(value.setting), value)) if teacher else ""
    if value.setting.batch == 1:
        tail = f"95th percentile {milliseconds(value.p95)}"
        return Cell(milliseconds(value.median), _joined(tail, pace))
    return Cell(f"{value.crops_per_second:,.0f} crops/s", pace)


@_told.register
def _(value: Rate, row: MeasuredRow, model: BenchmarkedModel, teacher: BenchmarkedModel | None) -> Cell:
    return Cell(benchmark_words.rate(value), benchmark_words.rate_interval(value))


@_told.register
def _(value: Gap, row: MeasuredRow, model: BenchmarkedModel, teacher: BenchmarkedModel | None) -> Cell:
    return Cell(benchmark_words.gap(value), benchmark_words.gap_basis(value))


def _pace(ratio: SpeedRatio) -> str:
    """A ratio and its spread over the rounds, both in one direction."""
    low, high = (ratio.low, ratio.high) if ratio.median >= 1 else (1 / ratio.high, 1 / ratio.low)
    return f"{times(ratio.median, 'faster', 'slower')} ({low:.2f} to {high:.2f})"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
