"""Results of a protocol as text: the rows of their table, and notes on it."""

from __future__ import annotations

from functools import singledispatch

from facekd.reporting.cells import (
    accuracy_cell,
    attempt_rows,
    failures_row,
    fnir_cell,
    measure,
    percent,
    shortfalls,
    tar,
)
from facekd.verification.results import (
    INDEPENDENT_PROBES,
    AllPairsResult,
    IdentificationResult,
    PairResult,
    Result,
    ScoreResult,
)


@singledispatch
def table_rows(result: Result) -> list[tuple[str, str]]:
    """The rows of the table of ``result``: a label and a cell."""
    raise TypeError(f"there is no table of a {type(result).__name__}")


@singledispatch
def table_notes(result: Result) -> list[str]:
    """The notes that a reader of the table needs."""
    raise TypeError(f"there are no notes on a {type(result).__name__}")


@table_rows.register
def _(result: PairResult) -> list[tuple[str, str]]:
    """The table of a list of pairs."""
    attempts = attempt_rows(result.rates.points, result.lost, ", listed pairs")
    if result.everyone is not None:
        attempts += attempt_rows(result.everyone_points, result.everyone.lost, ", all pairs")
    unbalanced = "" if result.is_balanced else " (list not balanced)"
    balanced = [] if result.is_balanced else [("balanced accuracy", percent(result.balanced_accuracy))]
    return [
        (f"accuracy{unbalanced}, {len(result.folds)} folds, ± std", accuracy_cell(result.accuracy)),
        *balanced,
        ("the same, failures as errors", accuracy_cell(result.accuracy_with_failures)),
        ("AUC", measure(result.rates.auc.value, result.rates.auc.interval, 3)),
        ("EER", measure(result.rates.eer.value, result.rates.eer.interval)),
        *[(f"TAR@FMR {point.fmr:g}, listed pairs", tar(point)) for point in result.rates.points],
        *[(f"TAR@FMR {point.fmr:g}, all pairs", tar(point)) for point in result.everyone_points],
        *attempts,
        failures_row(len(result.failed), result.photos),
    ]


@table_notes.register
def _(result: PairResult) -> list[str]:
    """Counts, folds, what is missing and why."""
    mated = int((result.mated & result.completed).sum())
    listed = f"{mated:,} mated and {int(result.completed.sum()) - mated:,} non-mated comparisons completed"
    said = [f"Listed pairs: {listed} of {result.mated.size:,}; {result.folds_from}."]
    if result.everyone is not None:
        everyone = result.everyone
        said.append(
            f"All pairs: {everyone.mated.size:,} mated and {everyone.non_mated:,} non-mated comparisons; "
            f"{everyone.lost_mated:,} and {everyone.lost_non_mated:,} lost to failures."
        )
    elif result.no_all_pairs:
        said.append(f"All pairs: not compared, {result.no_all_pairs}.")
    return [*said, *shortfalls((*result.rates.points, *result.everyone_points)), *result.rates.caveats]


@table_rows.register
def _(result: AllPairsResult) -> list[tuple[str, str]]:
    points = [(f"TAR@FMR {point.fmr:g}, all pairs", tar(point)) for point in result.points]
    attempts = attempt_rows(result.points, result.everyone.lost, ", all pairs")
    return [*points, *attempts, failures_row(len(result.failed), result.photos)]


@table_notes.register
def _(result: AllPairsResult) -> list[str]:
    pairs = result.everyone
    return [
        f"All pairs of {result.units:,} {result.compared} of {result.people:,} people: "
        f"{pairs.mated.size:,} mated and {pairs.non_mated:,} non-mated comparisons; "
        f"{pairs.lost_mated:,} and {pairs.lost_non_mated:,} lost to failures.",
        *shortfalls(result.points),
    ]


@table_rows.register
def _(result: ScoreResult) -> list[tuple[str, str]]:
    lost = int((~result.completed).sum())
    gone = ("comparisons without score", f"{lost:,} of {result.scores.size:,}")
    return [
        ("AUC", measure(result.rates.auc.value, result.rates.auc.interval, 3)),
        ("EER", measure(result.rates.eer.value, result.rates.eer.interval)),
        *[(f"TAR@FMR {point.fmr:g}", tar(point)) for point in result.points],
        *attempt_rows(result.points, result.lost),
        gone if result.photos is None else failures_row(len(result.failed), result.photos),
    ]


@table_notes.register
def _(result: ScoreResult) -> list[str]:
    mated = int((result.mated & result.completed).sum())
    non_mated = int(result.completed.sum()) - mated
    return [
        f"{mated:,} mated and {non_mated:,} non-mated comparisons completed of {result.scores.size:,}; no "
        "folds, and therefore no accuracy.",
        *shortfalls(result.points),
        *result.rates.caveats,
    ]


@table_rows.register
def _(result: IdentificationResult) -> list[tuple[str, str]]:
    ranked = [(f"rank {point.rank}", measure(point.rate, point.interval)) for point in result.ranks]
    opened = [(f"FNIR@FPIR {point.fpir:g}, open set", fnir_cell(point)) for point in result.points]
    return [*ranked, *opened, failures_row(len(result.failed), result.photos)]


@table_notes.register
def _(result: IdentificationResult) -> list[str]:
    found = result.searches
    gone = f", {len(result.not_enrolled)} people could not be enrolled" if result.not_enrolled else ""
    said = [
        f"Gallery: {found.enrolled:,} of {result.people:,} people enrolled, one template each{gone}. "
        f"{found.rank.size:,} mated and {found.highest.size:,} non-mated searches; "
        f"{result.failed_probes:,} probes have no embedding: a mated one counts as a miss.",
        INDEPENDENT_PROBES,
    ]
    return [*said, *[f"FNIR@FPIR {p.fpir:g}: {p.shortfall}." for p in result.points if p.shortfall]]
