"""The figures measured for every model: each row of the comparison table is declared here, once.

A row defines its label, how its value is taken from a model, how a student's value is compared with the
teacher's, and its keys in the JSON document. The terminal's table, the page
and the document all consist of these rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from facekd.benchmark.models import BenchmarkedModel, Gap
from facekd.benchmark.pair_accuracy import Rate
from facekd.benchmark.timing import Timing

#: the unit of a row's number: a count, bytes in rounded or exact figures, seconds
Unit = Literal["", "B", "bytes", "s"]


@dataclass(frozen=True)
class Ratio:
    """The words for the teacher's value over the student's: ``better`` if it is above one, otherwise
    ``worse``. ``key`` is its key in ``times_smaller`` of the JSON document."""

    key: str
    better: str
    worse: str


def _nothing(model: BenchmarkedModel) -> str:
    return ""


@dataclass(frozen=True)
class MeasuredRow:
    """A row of the table. ``value`` returns a model's number in ``unit``, its timing, rate or difference from
    the teacher; `None` if it has none. ``key`` is a number's key in the model's JSON document,
    ``ratio`` how it is compared with the teacher's. ``suffix`` follows the number, ``note`` is below
    it."""

    title: str
    value: Callable[[BenchmarkedModel], float | Timing | Rate | Gap | None]
    unit: Unit = ""
    key: str | None = None
    ratio: Ratio | None = None
    suffix: Callable[[BenchmarkedModel], str] = _nothing
    note: Callable[[BenchmarkedModel], str] = _nothing

    def times_smaller(self, teacher: BenchmarkedModel, student: BenchmarkedModel) -> float:
        """The teacher's number over the student's; NaN if one of the two is missing or 0."""
        one, other = self.value(teacher), self.value(student)
        known = isinstance(one, int | float) and isinstance(other, int | float) and other
        return one / other if known else math.nan  # type: ignore[operator]


Measurement = Callable[[Sequence[BenchmarkedModel], str], Iterable[MeasuredRow]]
#: in the order of the table
MEASUREMENTS: list[Measurement] = []


def measurement(rows: Measurement) -> Measurement:
    """A decorator: ``rows(models, device)``, the teacher first, follow those declared before."""
    MEASUREMENTS.append(rows)
    return rows


def measured_rows(models: Sequence[BenchmarkedModel], device: str) -> list[MeasuredRow]:
    """The rows of ``models``, which ran on ``device``."""
    return [row for rows in MEASUREMENTS for row in rows(models, device)]


@measurement
def weights(models: Sequence[BenchmarkedModel], device: str) -> Iterator[MeasuredRow]:
    """The size of the graph and the file."""
    yield MeasuredRow(
        "Parameters", lambda m: m.counts.parameters, "", "parameters",
        Ratio("parameters", "smaller", "larger"),
    )  # fmt: skip
    yield MeasuredRow(
        "Multiply-adds, one crop", lambda m: m.counts.macs, "", "macs", Ratio("macs", "fewer", "more"),
        suffix=lambda m: f" and {', '.join(m.counts.uncounted)} (not counted)" if m.counts.uncounted else "",
    )  # fmt: skip
    yield MeasuredRow(
        "File", lambda m: m.counts.file_bytes, "B", "file_bytes", Ratio("file_bytes", "smaller", "larger")
    )
    yield MeasuredRow(
        "Template, one embedding", lambda m: m.counts.template_bytes, "bytes", "template_bytes",
        note=lambda m: f"{m.counts.dim} numbers",
    )  # fmt: skip


@measurement
def speeds(models: Sequence[BenchmarkedModel], device: str) -> Iterator[MeasuredRow]:
    """Latency and throughput, one row for each setting."""
    for setting in [timing.setting for timing in models[0].timings]:
        kind = "Latency" if setting.batch == 1 else "Throughput"
        yield MeasuredRow(
            f"{kind}, {setting.told(device)}", partial(BenchmarkedModel.timing, setting=setting)
        )


@measurement
def footprint(models: Sequence[BenchmarkedModel], device: str) -> Iterator[MeasuredRow]:
    """The needs of a separate process."""
    yield MeasuredRow(
        "Peak memory", lambda m: m.footprint.peak_bytes, "B", "peak_bytes",
        Ratio("peak_memory", "less", "more"),
    )  # fmt: skip
    yield MeasuredRow("Load and first crop", lambda m: m.footprint.load_seconds, "s", "load_seconds")


@measurement
def accuracy(models: Sequence[BenchmarkedModel], device: str) -> Iterator[MeasuredRow]:
    """The rates of the protocol, and the students' differences from the teacher."""
    for name in dict.fromkeys(rate.name for model in models for rate in model.rates):
        yield MeasuredRow(name, partial(BenchmarkedModel.rate, name=name))
    yield MeasuredRow("Accuracy beside the teacher", lambda m: m.gap)
