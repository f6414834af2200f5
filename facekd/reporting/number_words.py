"""Numbers as people read them."""

from __future__ import annotations

from facekd.benchmark import Benchmark, Comparison, Gap, Rate, Setting

NARROW_SPACE = "\u202f"
NO_BREAK = "\u00a0"


def amount(value: float, unit: str = "") -> str:
    """Three figures and a decimal prefix: 2.24 M, 98.3 MB."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        # what would round up to 1000 belongs to the next prefix
        if value >= size * 0.9995:
            return f"{_three(value / size)}{NO_BREAK}{prefix}{unit}"
    return f"{value:.0f}{NO_BREAK}{unit}" if unit else f"{value:.0f}"


def _three(value: float) -> str:
    places = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{places}f}"


def milliseconds(seconds: float) -> str:
    return f"{_three(seconds * 1e3)}{NO_BREAK}ms"


def times(ratio: float, better: str, worse: str) -> str:
    """A ratio in the student's favour (above one) or against it: '2.2 times smaller'."""
    if ratio != ratio:
        return f"not comparably {better}"
    word, shown = (better, ratio) if ratio >= 1 else (worse, 1 / ratio)
    figure = f"{shown:.2f}" if shown < 1.1 else f"{shown:.1f}" if shown < 99.5 else f"{shown:.0f}"
    return f"{figure} times {word}"


def percent(share: float) -> str:
    return f"{share * 100:.2f}{NARROW_SPACE}%"


def rate(found: Rate) -> str:
    return "insufficient data" if found.value is None else percent(found.value)


def rate_interval(found: Rate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return ""
    return f"{found.low * 100:.2f} to {found.high * 100:.2f}"


def setting(value: Setting, device: str) -> str:
    crops = "one crop" if value.batch == 1 else f"{value.batch} crops at once"
    if device != "cpu":
        return f"{crops}, {device}"
    return f"{crops}, one thread" if value.threads == 1 else f"{crops}, {value.threads} threads"


def gap(value: Gap) -> str:
    """'0.32 points less accurate'."""
    if value.difference == 0:
        return "as accurate"
    side = "less" if value.difference < 0 else "more"
    return f"{abs(value.difference) * 100:.2f} points {side} accurate"


def gap_basis(value: Gap) -> str:
    """What the difference of two accuracies rests on, and whether there is one at all."""
    unsure = ", so no difference is shown" if value.low <= 0 <= value.high else ""
    return (
        f"95{NARROW_SPACE}% interval of the difference {value.low * 100:+.2f} to {value.high * 100:+.2f} "
        f"points, {value.pairs:,} pairs{unsure}"
    )


def headline(benchmark: Benchmark, comparison: Comparison) -> str:
    """The one sentence that a benchmark is run for."""
    first, speed = comparison.faster[0]
    size = times(comparison.parameters, "smaller", "larger")
    pace = times(speed.median, "faster", "slower")
    accuracy = "its accuracy was not measured"
    if comparison.gap and benchmark.protocol:
        accuracy = f"{gap(comparison.gap)} on {benchmark.protocol.name} ({gap_basis(comparison.gap)})"
    teacher = benchmark.teacher.name
    return (
        f"{comparison.student} is {size} than {teacher} (parameters), {pace} "
        f"({setting(first, benchmark.device)}); {accuracy}."
    )
