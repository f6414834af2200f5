"""The result of a benchmark, in words."""

from __future__ import annotations

from facekd.benchmark import Benchmark, Comparison, Gap, Rate
from facekd.reporting.number_words import NARROW_SPACE, percent, times


def headlines(benchmark: Benchmark) -> tuple[str, ...]:
    """One sentence for every student."""
    return tuple(headline(benchmark, comparison) for comparison in benchmark.comparisons())


def headline(benchmark: Benchmark, comparison: Comparison) -> str:
    """The summary of one student in one sentence."""
    first, speed = comparison.faster[0]
    size = times(comparison.times_smaller["parameters"], "smaller", "larger")
    pace = times(speed.median, "faster", "slower")
    accuracy = "its accuracy was not measured"
    if comparison.gap and benchmark.protocol:
        accuracy = f"{gap(comparison.gap)} on {benchmark.protocol.name} ({gap_basis(comparison.gap)})"
    teacher = benchmark.teacher.name
    return (
        f"{comparison.student} is {size} than {teacher} (parameters), {pace} "
        f"({first.told(benchmark.device)}); {accuracy}."
    )


def rate(found: Rate) -> str:
    return "insufficient data" if found.value is None else percent(found.value)


def rate_interval(found: Rate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return ""
    return f"{found.low * 100:.2f} to {found.high * 100:.2f}"


def gap(value: Gap) -> str:
    """'0.32 points less accurate'."""
    if value.difference == 0:
        return "as accurate"
    side = "less" if value.difference < 0 else "more"
    return f"{abs(value.difference) * 100:.2f} points {side} accurate"


def gap_basis(value: Gap) -> str:
    """The basis of the difference of two accuracies, and whether there is a difference at all."""
    if value.low is None or value.high is None:
        return f"{value.pairs:,} pairs of unknown people, therefore without an interval"
    unsure = ", which includes 0: no difference is shown" if value.low <= 0 <= value.high else ""
    return (
        f"{value.pairs:,} pairs; 95{NARROW_SPACE}% interval of the difference {value.low * 100:+.2f} to "
        f"{value.high * 100:+.2f} points{unsure}"
    )
