"""Numbers as people read them."""

from __future__ import annotations

NARROW_SPACE = "\u202f"
NO_BREAK = "\u00a0"


def amount(value: float, unit: str = "") -> str:
    """Three digits and a decimal prefix: 2.24 M, 98.3 MB."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        # a number that would round up to 1000 gets the next prefix
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
