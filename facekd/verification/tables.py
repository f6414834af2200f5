"""Results as text: one table, the measures down, the models across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from facekd.verification.intervals import Interval
from facekd.verification.operating import PARTIAL_FMR, whole_attempts

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from facekd.verification.accuracy import Accuracy
    from facekd.verification.operating import Lost, OperatingPoint
    from facekd.verification.rates import Measure, PairRates
    from facekd.verification.result import PairResult, Result


def percent(value: float, digits: int = 2) -> str:
    """A rate in per cent."""
    return f"{100 * value:.{digits}f}"


def results_table(results: Mapping[str, Result]) -> Table:
    """Results of one protocol side by side; ``results`` by model name."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_header=any(results), pad_edge=False)
    table.add_column("in %, with 95 % interval")
    for name in results:
        table.add_column(name, overflow="fold")
    columns = [dict(result.rows()) for result in results.values()]
    # only models that lost comparisons have rows of whole attempts
    for title in dict.fromkeys(title for column in columns for title in column):
        table.add_row(title, *[column.get(title, "-") for column in columns])
    return table


def alone(result: Result) -> Group:
    """The table of one result and what must be known besides."""
    from rich.console import Group
    from rich.text import Text

    return Group(results_table({"": result}), *[Text(line) for line in result.notes()])


def pair_rows(result: PairResult) -> list[tuple[str, str]]:
    """The table of a list of pairs."""
    attempts = attempt_rows(result.rates.points, result.lost, ", listed pairs")
    if result.everyone is not None:
        attempts += attempt_rows(result.everyone_points, result.everyone.lost, ", all pairs")
    return [
        (f"accuracy, {len(result.folds)} folds, ± std", _accuracy(result.accuracy)),
        ("the same, failures as errors", _accuracy(result.accuracy_with_failures)),
        ("AUC", measure(result.rates.auc.value, result.rates.auc.interval, 3)),
        ("EER", measure(result.rates.eer.value, result.rates.eer.interval)),
        *[(f"TAR@FMR {point.fmr:g}, listed pairs", tar(point)) for point in result.rates.points],
        *[(f"TAR@FMR {point.fmr:g}, all pairs", tar(point)) for point in result.everyone_points],
        *attempts,
        failures_row(len(result.failed), result.photos),
    ]


def attempt_rows(points: Sequence[OperatingPoint], lost: Lost, which: str = "") -> list[tuple[str, str]]:
    """FAR and FRR at each of ``points`` that has a number; nothing where no comparison was ``lost``."""
    if not lost.mated and not lost.non_mated:
        return []
    # a FAR is as small as its FMR: two decimals would leave nothing of it
    return [
        (f"FAR, FRR at FMR {found.fmr:g}{which}", f"{100 * found.far:.3g}, {percent(found.frr)}")
        for found in whole_attempts(points, lost)
    ]


def further_rows(rates: PairRates) -> list[tuple[str, str]]:
    """What is told of a list beyond the table of the terminal."""
    partial = rates.partial_auc
    area = measure(partial.value, partial.interval) if partial else "insufficient data"
    return [
        (f"partial AUC, FMR up to {PARTIAL_FMR:g}", area),
        ("minDCF, a cost from 0 to 1", _plain(rates.min_dcf)),
        ("d', a distance", _plain(rates.d_prime)),
    ]


def _plain(found: Measure) -> str:
    """A number that is no rate above its interval."""
    if found.interval is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f}\n  {found.interval.low:.3f} to {found.interval.high:.3f}"


def failures_row(failed: int, photos: int) -> tuple[str, str]:
    """How many photos gave no embedding."""
    return "photos without embedding", f"{failed} of {photos:,}"


def pair_notes(result: PairResult) -> list[str]:
    """What a reader of `pair_rows` must know besides: counts, folds, what is missing and why."""
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
    return [*said, *shortfalls((*result.rates.points, *result.everyone_points)), *result.rates.caveats]


def shortfalls(points: Sequence[OperatingPoint]) -> list[str]:
    """Why some of ``points`` have no number."""
    return [f"TAR@FMR {point.fmr:g}: {point.shortfall}." for point in points if point.shortfall]


def _accuracy(accuracy: Accuracy) -> str:
    return f"{percent(accuracy.mean)} ± {percent(accuracy.std)}{_between(accuracy.interval)}"


def measure(value: float, interval: Interval | None, digits: int = 2) -> str:
    """A rate in per cent above its interval."""
    return percent(value, digits) + _between(interval, digits)


def tar(point: OperatingPoint) -> str:
    """The cell of an operating point."""
    return "insufficient data" if point.tar is None else measure(point.tar, point.interval)


def _between(interval: Interval | None, digits: int = 2) -> str:
    if interval is None:
        return ""
    return f"\n  {percent(interval.low, digits)} to {percent(interval.high, digits)}"
