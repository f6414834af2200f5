"""Numbers as table cells: in per cent, above their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from facekd.reporting.page import Cell
from facekd.verification import PARTIAL_FMR, Accuracy, Interval, Lost, OperatingPoint, whole_attempts
from facekd.verification.results import Measure, OpenPoint, PairRates


def percent(value: float, digits: int = 2) -> str:
    """A rate in per cent."""
    return f"{100 * value:.{digits}f}"


def measure(value: float, interval: Interval | None, digits: int = 2) -> str:
    """A rate in per cent above its interval."""
    return percent(value, digits) + _between(interval, digits)


def tar(point: OperatingPoint) -> str:
    """The cell of an operating point."""
    return "insufficient data" if point.tar is None else measure(point.tar, point.interval)


def accuracy_cell(accuracy: Accuracy) -> str:
    """The mean over folds, its standard deviation and its interval."""
    return f"{percent(accuracy.mean)} ± {percent(accuracy.std)}{_between(accuracy.interval)}"


def fnir_cell(point: OpenPoint) -> str:
    """The cell of an open-set point."""
    return "insufficient data" if point.fnir is None else measure(point.fnir, point.interval)


def attempt_rows(points: Sequence[OperatingPoint], lost: Lost, which: str = "") -> list[tuple[str, str]]:
    """FAR and FRR at each of ``points`` that has a number; empty if no comparison was ``lost``."""
    if not lost.mated and not lost.non_mated:
        return []
    # a FAR is as small as its FMR and would be 0 with two decimals
    return [
        (f"FAR, FRR at FMR {found.fmr:g}{which}", f"{100 * found.far:.3g}, {percent(found.frr)}")
        for found in whole_attempts(points, lost)
    ]


def further_rows(rates: PairRates) -> list[tuple[str, str]]:
    """The rates of a list that the terminal's table leaves out."""
    partial = rates.partial_auc
    area = measure(partial.value, partial.interval) if partial else "insufficient data"
    return [
        (f"partial AUC, FMR up to {PARTIAL_FMR:g}", area),
        ("minDCF, a cost from 0 to 1", _plain(rates.min_dcf)),
        ("d', a distance", _plain(rates.d_prime)),
    ]


def failures_row(failed: int, photos: int) -> tuple[str, str]:
    """How many photos have no embedding."""
    return "photos without embedding", f"{failed} of {photos:,}"


def shortfalls(points: Sequence[OperatingPoint]) -> list[str]:
    """Why some of ``points`` have no number."""
    return [f"TAR@FMR {point.fmr:g}: {point.shortfall}." for point in points if point.shortfall]


def page_cell(text: str) -> Cell:
    """The same for a page: a number with its interval in the line below."""
    value, _, interval = text.partition("\n")
    return Cell(value, interval.strip())


def _plain(found: Measure) -> str:
    """A number that is not a rate, above its interval."""
    if found.interval is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f}\n  {found.interval.low:.3f} to {found.interval.high:.3f}"


def _between(interval: Interval | None, digits: int = 2) -> str:
    if interval is None:
        return ""
    return f"\n  {percent(interval.low, digits)} to {percent(interval.high, digits)}"
