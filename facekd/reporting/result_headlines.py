"""The one-sentence summaries of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from facekd.reporting.cells import percent
from facekd.verification import OperatingPoint
from facekd.verification.results import (
    AllPairsResult,
    IdentificationResult,
    PairResult,
    Result,
    ScoreResult,
)


def headlines(results: Mapping[str, Result]) -> Iterator[str]:
    """One sentence for each model, the most important number first."""
    for name, result in results.items():
        told = _headline(result)
        if told:
            yield f"{name} {told}"


def _headline(result: Result) -> str | None:
    if isinstance(result, IdentificationResult):
        first = result.ranks[0]
        low, high = percent(first.interval.low), percent(first.interval.high)
        return (
            f"finds the right person first in {percent(first.rate)} % of {first.searches:,} searches "
            f"(95 % interval {low} to {high}) among {result.searches.enrolled:,} enrolled."
        )
    if isinstance(result, PairResult):
        accuracy, failed = result.accuracy, int((~result.completed).sum())
        low, high = percent(accuracy.interval.low), percent(accuracy.interval.high)
        lost = f", not counting {failed:,} that failed" if failed else ""
        matched = _matched(result.everyone_points)
        balanced = percent(result.balanced_accuracy)
        unlike = "" if result.is_balanced else f"; the list is not balanced, balanced accuracy {balanced}"
        return (
            f"decides {percent(accuracy.mean)} % of {result.scores.size:,} pairs correctly (95 % interval "
            f"{low} to {high}{lost}{unlike}){f', and it {matched}' if matched else ''}."
        )
    if isinstance(result, AllPairsResult | ScoreResult):
        matched = _matched(result.points)
        return f"{matched}." if matched else _too_few(result)
    return None


def _too_few(result: AllPairsResult | ScoreResult) -> str | None:
    """The headline if the data is too small for any operating point."""
    if not result.points:
        return None
    counted = result.points[0]
    eer = f"; EER {percent(result.rates.eer.value)} %" if isinstance(result, ScoreResult) else ""
    return (
        f"has too few comparisons for a TAR at any stated FMR ({counted.mated:,} mated, "
        f"{counted.non_mated:,} non-mated){eer}."
    )


def _matched(points: Sequence[OperatingPoint]) -> str | None:
    """The operating point of the lowest FMR that the data can show."""
    told = [point for point in points if point.tar is not None]
    if not told:
        return None
    point = min(told, key=lambda point: point.fmr)
    between = ""
    if point.interval:
        between = f" ({percent(point.interval.low)} to {percent(point.interval.high)})"
    rate = f"{percent(point.tar or 0.0)} %{between}"
    return f"matches {rate} of {point.mated:,} mated comparisons at FMR {point.fmr:g}"
