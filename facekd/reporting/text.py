"""The sentences around the tables of a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch
from typing import Any

from facekd.reporting.calibration_text import calibration_lines, similar_lines
from facekd.reporting.lost_photos import reasons_told
from facekd.reporting.table_text import table_notes
from facekd.verification.results import (
    OWN_THRESHOLDS,
    Calibrated,
    CompatibilityResult,
    Evaluation,
    GalleryEvaluation,
    RobustnessReport,
    SimilarCalibrated,
)


@singledispatch
def lines(found: Any) -> Iterator[str]:
    """The sentences beside the tables of a measurement."""
    raise TypeError(f"there are no sentences on a {type(found).__name__}")


@lines.register
def _(result: Evaluation) -> Iterator[str]:
    """The sentences below the table."""
    mirrored = " Each crop's embedding is added to that of its mirror image." if result.flip else ""
    yield f"Detector: {result.detector}. Aligner: {result.aligner}.{mirrored}"
    found = result.photos - len(result.missing) - len(result.failures)
    yield (
        f"Photos: {result.photos:,} named, {found:,} embedded, {len(result.failures)} failures to acquire"
        f"{reasons_told(result.failures)}, {len(result.missing)} missing from the data."
    )
    if result.left_out:
        yield result.left_out.sentence
    yield from table_notes(result.models[0].result)
    yield from (pair.sentence for pair in result.paired)


@lines.register
def _(result: RobustnessReport) -> Iterator[str]:
    """The sentences below the tables."""
    yield f"Degraded: {result.side}, after detection and alignment, so that no face is lost."
    yield f"Detector: {result.detector}. Aligner: {result.aligner}."
    gone = f"{len(result.failures)} without crop{reasons_told(result.failures)}"
    first = next(iter(result.models.values()))[0].result
    mated = int((first.mated & first.completed).sum())
    yield (
        f"Photos: {result.photos:,} named, {gone}. Listed pairs: {mated:,} mated and "
        f"{int(first.completed.sum()) - mated:,} non-mated comparisons; {first.folds_from}."
    )
    if any(row.refused is not None for rows in result.models.values() for row in rows):
        yield (
            "Refused: share of the degraded photos beyond the limits in the model's card. FMR of the "
            "others: at the clean threshold, of the remaining photos; the other columns include all."
        )
    yield (
        "The thresholds of accuracy and TAR are chosen anew under each degradation; the clean threshold is "
        "that of FMR 0.01 on the listed pairs of clean crops, with Wilson's intervals, which treat pairs as "
        "independent."
    )


@lines.register
def _(result: CompatibilityResult) -> Iterator[str]:
    """The sentences below the tables."""
    yield from lines(result.alone)
    yield from together(result)


def together(result: CompatibilityResult) -> Iterator[str]:
    """The sentences on the two models together."""
    yield (
        "A to B: the first photo of each pair embedded by A, the second by B. All pairs between two models: "
        "every photo embedded by one with every other embedded by the other, the same in both directions."
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
    yield from calibration_lines(result)


@lines.register
def _(result: SimilarCalibrated) -> Iterator[str]:
    yield from similar_lines(result)


@lines.register
def _(result: GalleryEvaluation) -> Iterator[str]:
    """The sentences above the table."""
    yield f"{result.model} on {result.gallery}. Detector: {result.detector}. Aligner: {result.aligner}."
    yield (
        f"Photos: {len(result.probes.photos):,} probes, {len(result.failures)} failures to acquire"
        f"{reasons_told(result.failures)}, {len(result.probes.left_out)} left out."
    )
