"""Results as text: one table, the measures down, the models across."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from facekd.verification.intervals import Interval

if TYPE_CHECKING:
    from rich.table import Table

    from facekd.verification.accuracy import Accuracy
    from facekd.verification.result import PairResult


def percent(value: float, digits: int = 2) -> str:
    """A rate in per cent."""
    return f"{100 * value:.{digits}f}"


def results_table(results: Mapping[str, PairResult]) -> Table:
    """The results of one protocol side by side; ``results`` by model name."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_header=any(results), pad_edge=False)
    table.add_column("in %, with 95 % interval")
    for name in results:
        table.add_column(name, overflow="fold")
    for title, cell in _rows(next(iter(results.values()))):
        table.add_row(title, *[cell(result) for result in results.values()])
    return table


def _rows(first: PairResult) -> list[tuple[str, Callable[[PairResult], str]]]:
    rows: list[tuple[str, Callable[[PairResult], str]]] = [
        (f"accuracy, {len(first.folds)} folds, ± std", lambda r: _accuracy(r.accuracy)),
        ("the same, failures as errors", lambda r: _accuracy(r.accuracy_with_failures)),
        ("AUC", lambda r: _measure(r.rates.auc.value, r.rates.auc.interval, 3)),
        ("EER", lambda r: _measure(r.rates.eer.value, r.rates.eer.interval)),
    ]
    for fmr in (point.fmr for point in first.rates.points):
        rows.append((f"TAR@FMR {fmr:g}, listed pairs", partial(_tar, fmr, listed=True)))
    for fmr in (point.fmr for point in first.everyone_points):
        rows.append((f"TAR@FMR {fmr:g}, all pairs", partial(_tar, fmr, listed=False)))
    rows.append(("photos without embedding", lambda r: f"{len(r.failed)} of {r.photos:,}"))
    return rows


def notes(result: PairResult) -> list[str]:
    """What a reader of the table must know besides: counts, folds, what is missing and why."""
    mated = int((result.mated & result.completed).sum())
    listed = f"{mated:,} mated and {int(result.completed.sum()) - mated:,} non-mated comparisons completed"
    said = [f"Listed pairs: {listed} of {result.mated.size:,}; {result.folds_from}."]
    if result.everyone is not None:
        everyone = result.everyone
        said.append(
            f"All pairs: {everyone.mated.size:,} mated and {everyone.non_mated:,} non-mated comparisons; "
            f"{everyone.lost_mated:,} and {everyone.lost_non_mated:,} lost to failures."
        )
    else:
        said.append(f"All pairs: not judged, {result.no_all_pairs}.")
    for point in (*result.rates.points, *result.everyone_points):
        if point.shortfall:
            said.append(f"TAR@FMR {point.fmr:g}: {point.shortfall}.")
    return [*said, *result.rates.caveats]


def _accuracy(accuracy: Accuracy) -> str:
    return f"{percent(accuracy.mean)} ± {percent(accuracy.std)}{_between(accuracy.interval)}"


def _measure(value: float, interval: Interval | None, digits: int = 2) -> str:
    return percent(value, digits) + _between(interval, digits)


def _tar(fmr: float, result: PairResult, listed: bool) -> str:
    points = result.rates.points if listed else result.everyone_points
    point = next((point for point in points if point.fmr == fmr), None)
    if point is None:
        return "-"
    return "insufficient data" if point.tar is None else _measure(point.tar, point.interval)


def _between(interval: Interval | None, digits: int = 2) -> str:
    if interval is None:
        return ""
    return f"\n  {percent(interval.low, digits)} to {percent(interval.high, digits)}"
