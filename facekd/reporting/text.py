"""Results as text: the rows of their table, what its reader must know besides, and the sentences around it.

`table_rows` and `table_notes` take what a protocol's evaluation returned; `lines` what a whole
measurement did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import singledispatch
from typing import Any

from facekd.card import Calibration
from facekd.reporting.cells import (
    accuracy_cell,
    attempt_rows,
    failures_row,
    fnir_cell,
    measure,
    shortfalls,
    tar,
)
from facekd.verification import PRIOR
from facekd.verification.results import (
    INDEPENDENT_PROBES,
    OWN_THRESHOLDS,
    AllPairsResult,
    Calibrated,
    CompatibilityResult,
    Evaluation,
    GalleryEvaluation,
    IdentificationResult,
    PairResult,
    Result,
    RobustnessReport,
    ScoreResult,
)


@singledispatch
def table_rows(result: Result) -> list[tuple[str, str]]:
    """The table of ``result``: what a row says, and its cell."""
    raise TypeError(f"no table is known of a {type(result).__name__}")


@singledispatch
def table_notes(result: Result) -> list[str]:
    """What a reader of the table must know besides."""
    raise TypeError(f"no notes are known of a {type(result).__name__}")


@singledispatch
def lines(found: Any) -> Iterator[str]:
    """The sentences that stand beside the tables of a measurement."""
    raise TypeError(f"nothing is known to say of a {type(found).__name__}")


@table_rows.register
def _(result: PairResult) -> list[tuple[str, str]]:
    """The table of a list of pairs."""
    attempts = attempt_rows(result.rates.points, result.lost, ", listed pairs")
    if result.everyone is not None:
        attempts += attempt_rows(result.everyone_points, result.everyone.lost, ", all pairs")
    return [
        (f"accuracy, {len(result.folds)} folds, ± std", accuracy_cell(result.accuracy)),
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


@table_rows.register
def _(result: AllPairsResult) -> list[tuple[str, str]]:
    points = [(f"TAR@FMR {point.fmr:g}, all pairs", tar(point)) for point in result.points]
    attempts = attempt_rows(result.points, result.everyone.lost, ", all pairs")
    return [*points, *attempts, failures_row(len(result.failed), result.photos)]


@table_notes.register
def _(result: AllPairsResult) -> list[str]:
    pairs = result.everyone
    return [
        f"All pairs of {result.units:,} {result.compared} of {result.people:,} persons: "
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
        "folds, so no accuracy.",
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
    gone = f", {len(result.not_enrolled)} persons could not be enrolled" if result.not_enrolled else ""
    said = [
        f"Gallery: {found.enrolled:,} of {result.people:,} persons enrolled, one template each{gone}. "
        f"{found.rank.size:,} mated and {found.highest.size:,} non-mated searches; "
        f"{result.failed_probes:,} photos searched with gave no embedding: a mated one counts as a miss.",
        INDEPENDENT_PROBES,
    ]
    return [*said, *[f"FNIR@FPIR {p.fpir:g}: {p.shortfall}." for p in result.points if p.shortfall]]


@lines.register
def _(result: Evaluation) -> Iterator[str]:
    """What stands below the table."""
    mirrored = " Each crop's embedding is added to that of its mirror image." if result.flip else ""
    yield f"Detector: {result.detector}. Aligner: {result.aligner}.{mirrored}"
    found = result.photos - len(result.missing) - len(result.failures)
    yield (
        f"Photos: {result.photos:,} named, {found:,} embedded, {len(result.failures)} failures to acquire"
        f"{_reasons(result.failures)}, {len(result.missing)} missing from the data."
    )
    if result.left_out:
        yield result.left_out.sentence
    yield from table_notes(result.models[0].result)
    yield from (pair.sentence for pair in result.paired)


@lines.register
def _(result: RobustnessReport) -> Iterator[str]:
    """What stands below the tables."""
    yield f"Degraded: {result.side}, after detection and alignment, so no face is lost to it."
    yield f"Detector: {result.detector}. Aligner: {result.aligner}."
    gone = f"{len(result.failures)} without crop{_reasons(result.failures)}"
    first = next(iter(result.models.values()))[0].result
    mated = int((first.mated & first.completed).sum())
    yield (
        f"Photos: {result.photos:,} named, {gone}. Listed pairs: {mated:,} mated and "
        f"{int(first.completed.sum()) - mated:,} non-mated comparisons; {first.folds_from}."
    )
    if any(row.refused is not None for rows in result.models.values() for row in rows):
        yield (
            "Refused: share of the degraded photos beyond the limits in the model's card. FMR of the "
            "others: at the clean threshold, of what is left; the other columns count all."
        )
    yield (
        "Accuracy and TAR choose their threshold anew under each degradation; clean threshold is that of "
        "FMR 0.01 on the listed pairs of clean crops, with Wilson's intervals, which count pairs as "
        "independent."
    )


@lines.register
def _(result: CompatibilityResult) -> Iterator[str]:
    """What stands below the tables."""
    yield from lines(result.alone)
    yield from together(result)


def together(result: CompatibilityResult) -> Iterator[str]:
    """What there is to say of the two models together."""
    yield (
        "A to B: the first photo of each pair embedded by A, the second by B. All pairs between two "
        "models: every photo by the one with every other by the other, so both directions hold the same."
    )
    yield OWN_THRESHOLDS
    for carried in result.carried_fmrs(next(iter(result.crossed.values()))):
        fmr = "above 0.02" if carried["fmr"] is None else f"{carried['fmr']:.2g}"
        yield (
            f"At {carried['model']}'s own threshold of FMR {carried['fmr_alone']:g} "
            f"({carried['threshold']:.4f}) comparisons between the two models have FMR {fmr}."
        )
    yield result.compatibility.sentence


@lines.register
def _(result: Calibrated) -> Iterator[str]:
    """What is told of it, a line each."""
    sample = result.people.sample
    yield (
        f"{result.card.name} on {result.card.calibration[0].data}: {sample.people:,} people, "
        f"{sample.photos:,} photos, {len(result.failures)} failures to acquire"
        f"{_reasons(result.failures)}"
    )
    for entry in result.card.calibration:
        yield _entry_line(entry)
    for refused in result.refused:
        yield f"{refused.cause}. {refused.fix}"
    yield _map_line(result)
    yield _limits_line(result)


def _limits_line(result: Calibrated) -> str:
    limits = result.card.photo_limits
    return f"photo limits: {limits.summary}" if limits else f"no photo limits: {result.no_limits}"


def _map_line(result: Calibrated) -> str:
    if result.fitted is None:
        return f"no score map: {result.no_map}"
    costs = ", ".join(f"{kind} {cost:.4f}" for kind, cost in result.fitted.cllrs.items())
    return (
        f"score map: {result.fitted.curve.kind}; Cllr on held-out people {costs}, minimum "
        f"{result.fitted.min_cllr:.4f} ({result.fitted.folds} folds); probabilities at prior {PRIOR:g}"
    )


@lines.register
def _(result: GalleryEvaluation) -> Iterator[str]:
    """What stands above the table."""
    yield f"{result.model} on {result.gallery}. Detector: {result.detector}. Aligner: {result.aligner}."
    yield (
        f"Photos: {len(result.probes.photos):,} probes, {len(result.failures)} failures to acquire"
        f"{_reasons(result.failures)}, {len(result.probes.left_out)} left out."
    )


def _entry_line(entry: Calibration) -> str:
    counts = entry.counts
    return (
        f"FMR {entry.fmr:g}: threshold {entry.threshold:.4f}; "
        f"{counts.false_matches:,} of {counts.non_mated:,} non-mated comparisons match, "
        f"FMR {entry.low:.2g} to {entry.high:.2g} (95 %); {counts.false_non_matches:,} of "
        f"{counts.mated:,} mated ones do not, FNMR {entry.fnmr:.3g} "
        f"({entry.fnmr_low:.2g} to {entry.fnmr_high:.2g})"
    )


def _reasons(failures: Iterable[tuple[str, str]]) -> str:
    """How many failed for which reason, in brackets; nothing where none did."""
    counts = Counter(reason for _, reason in failures)
    told = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return f" ({told})" if told else ""
