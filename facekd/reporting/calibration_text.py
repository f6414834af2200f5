"""The report of a calibration."""

from __future__ import annotations

from collections.abc import Iterator

from facekd.card import Calibration, MeasuredGroup, SimilarThreshold
from facekd.reporting.lost_photos import reasons_told
from facekd.verification import PRIOR
from facekd.verification.results import Calibrated, SimilarCalibrated


def calibration_lines(result: Calibrated) -> Iterator[str]:
    """The data, each threshold, refused rates, the score map and the photo limits."""
    sample = result.people.sample
    yield (
        f"{result.card.name} on {result.card.calibration[0].data}: {sample.people:,} people, "
        f"{sample.photos:,} photos, {len(result.failures)} failures to acquire"
        f"{reasons_told(result.failures)}"
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


def _entry_line(entry: Calibration) -> str:
    counts = entry.counts
    return (
        f"FMR {entry.fmr:g}: threshold {entry.threshold:.4f}; "
        f"{counts.false_matches:,} of {counts.non_mated:,} non-mated comparisons match, "
        f"FMR {entry.low:.2g} to {entry.high:.2g} (95 %); {counts.false_non_matches:,} of "
        f"{counts.mated:,} mated ones do not, FNMR {entry.fnmr:.3g} "
        f"({entry.fnmr_low:.2g} to {entry.fnmr_high:.2g})"
    )


def similar_lines(result: SimilarCalibrated) -> Iterator[str]:
    """The data, each threshold for similar people, and the groups at the card's own thresholds."""
    similar = result.similar
    yield (
        f"{result.card.name} on {similar.data}: {similar.sample.people:,} people in {len(similar.groups)} "
        f"groups, {len(result.failures)} failures to acquire{reasons_told(result.failures)}"
    )
    yield from (_similar_line(one) for one in similar.thresholds)
    yield from (_group_line(group) for group in similar.groups)


def _similar_line(one: SimilarThreshold) -> str:
    return (
        f"FMR {one.fmr:g} among similar people: threshold {one.threshold:.4f}, by {one.group} "
        f"({one.people:,} people, {one.pairs:,} comparisons); FMR {one.low:.2g} among varied people to "
        f"{one.high:.2g} within a group (95 %)"
    )


def _group_line(group: MeasuredGroup) -> str:
    rates = "; ".join(
        f"at {rate.threshold:.4f} {rate.rate:.2g} ({rate.low:.2g} to {rate.high:.2g})" for rate in group.rates
    )
    return f"{group.name}: {group.people:,} people; FMR {rates or 'not measured at a threshold of the card'}"
