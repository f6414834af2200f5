"""All figures of all models in one table, for the terminal and for the page."""

from __future__ import annotations

from facekd.benchmark import Benchmark, Comparison, ModelResult, Ratio, Setting
from facekd.reporting import number_words
from facekd.reporting.page import Cell, Table

LEGEND = (
    "Below a student's figure stands its ratio to the teacher, in brackets the middle nine tenths of "
    "what the rounds gave. Below a rate stands its 95 % interval."
)


def side_by_side(benchmark: Benchmark) -> Table:
    """A row for every figure, a column for every model; below a student's figure its ratio to the
    teacher."""
    comparisons = (None, *benchmark.comparisons())
    columns = [
        _column(model, compared, benchmark.device)
        for model, compared in zip(benchmark.models, comparisons, strict=True)
    ]
    rows: list[tuple[str | Cell, ...]] = [
        (name, *(column.get(name, Cell("-")) for column in columns)) for name in columns[-1]
    ]
    heads = tuple(f"{model.name} ({model.role})" for model in benchmark.models)
    return Table(("", *heads), tuple(rows), LEGEND)


def _column(model: ModelResult, compared: Comparison | None, device: str) -> dict[str, Cell]:
    column = _weights(model, compared)
    for place, timing in enumerate(model.timings):
        ratio = compared.faster[place][1] if compared else None
        name = _speed_name(timing.setting, device)
        if timing.setting.batch == 1:
            tail = f"95th percentile {number_words.milliseconds(timing.p95)}"
            column[name] = Cell(number_words.milliseconds(timing.median), _joined(tail, _pace(ratio)))
        else:
            column[name] = Cell(f"{timing.crops_per_second:,.0f} crops/s", _pace(ratio))
    footprint = model.footprint
    lean = _weight(compared.peak_memory, "less", "more") if compared else ""
    column["Peak memory"] = Cell(number_words.amount(footprint.peak_bytes, "B"), lean)
    column["Load and first crop"] = Cell(number_words.milliseconds(footprint.load_seconds))
    for rate in model.accuracy.rates if model.accuracy else ():
        column[rate.name] = Cell(number_words.rate(rate), number_words.rate_interval(rate))
    if compared and compared.gap:
        column["Accuracy beside the teacher"] = Cell(
            number_words.gap(compared.gap), number_words.gap_basis(compared.gap)
        )
    return column


def _weights(model: ModelResult, compared: Comparison | None) -> dict[str, Cell]:
    """What the graph and the file weigh."""
    counts = model.counts
    missing = f" and {', '.join(counts.uncounted)} (not counted)" if counts.uncounted else ""
    notes = ("", "", "")
    if compared:
        notes = (
            _weight(compared.parameters, "smaller", "larger"),
            _weight(compared.macs, "fewer", "more"),
            _weight(compared.file_bytes, "smaller", "larger"),
        )
    return {
        "Parameters": Cell(number_words.amount(counts.parameters), notes[0]),
        "Multiply-adds, one crop": Cell(number_words.amount(counts.macs) + missing, notes[1]),
        "File": Cell(number_words.amount(counts.file_bytes, "B"), notes[2]),
        "Template, one embedding": Cell(f"{counts.template_bytes:,} bytes", f"{counts.dim} numbers"),
    }


def _weight(ratio: float, better: str, worse: str) -> str:
    return "the same" if abs(ratio - 1) < 0.005 else number_words.times(ratio, better, worse)


def _speed_name(setting: Setting, device: str) -> str:
    kind = "Latency" if setting.batch == 1 else "Throughput"
    return f"{kind}, {number_words.setting(setting, device)}"


def _pace(ratio: Ratio | None) -> str:
    """A ratio and its spread over the rounds, both told in one direction."""
    if ratio is None:
        return ""
    low, high = (ratio.low, ratio.high) if ratio.median >= 1 else (1 / ratio.high, 1 / ratio.low)
    return f"{number_words.times(ratio.median, 'faster', 'slower')} ({low:.2f} to {high:.2f})"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
