"""Measure the accuracy lost on degraded crops: one protocol, many degradations, models side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP
from facekd.errors import UsageError
from facekd.geometry import recrop
from facekd.preprocess import (
    CLEAN,
    DEGRADATIONS,
    AcquiredPhoto,
    Degradation,
    failures_of,
    measure_faults,
    measured_beyond,
)
from facekd.runtime import Embedder, load_embedder, threaded, unique_names
from facekd.verification import judge_two_sided
from facekd.verification.protocols import PairList, Protocol
from facekd.verification.results import AtCleanThreshold, Degraded, PairResult, Result, RobustnessReport
from facekd.workflows.photo_acquisition import Advance, Embeddings, PhotoSet, crop_photos

#: crops that are degraded and embedded at a time
_BATCH = 32

Flags = NDArray[np.bool_]


def measure_robustness(
    models: Sequence[Path],
    protocol: Protocol[Result],
    data: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    one_side: bool = False,
    tell: Callable[[str], object] = lambda text: None,
    advance: Advance = lambda done: None,
) -> RobustnessReport:
    """Judge ``models`` on the pairs of ``protocol``, with its crops unchanged and under each of
    `DEGRADATIONS`, applied to both photos of a pair or, with ``one_side``, to the second only.

    Each photo is read, its face detected and its 112-pixel ArcFace crop cut once (with ``detector`` `None`
    the images are such crops). This crop is degraded, and then warped to each model's own crop. Crops are
    kept in memory, 38 kB each. ``tell`` receives notes about models read by convention, ``advance`` the
    number of further `robustness_steps` that are done.

    Raises `UsageError` if the protocol is not a list of pairs, `Misfit` for a model of box crops, and what
    `evaluate` raises.
    """
    if not isinstance(protocol, PairList):
        raise UsageError(
            f"protocol {protocol.name} does not list pairs of photos",
            "Use lfw, pairs or another list of pairs for degraded photos.",
        )
    embedders = [load_embedder(model, device, 1) for model in models]
    for model, embedder in zip(models, embedders, strict=True):
        if not embedder.has_card:
            tell(f"{model} has no card: read by insightface's convention (RGB, ArcFace template)")
        # fail before hours are spent if a model's crop cannot be made from the ArcFace crop
        recrop(np.empty((0, ARCFACE_CROP.size, ARCFACE_CROP.size, 3), np.uint8), ARCFACE_CROP, embedder.spec)
    photos = PhotoSet(data, detector, device)
    shown = photos.detector_name()
    acquired = list(crop_photos(photos, protocol.photos, [ARCFACE_CROP], advance))
    names = unique_names([embedder.name for embedder in embedders])
    found: list[list[Degraded]] = [[] for _ in embedders]
    clean: list[_Side] = []
    for degradation in (CLEAN, *DEGRADATIONS):
        sides = _embedded(embedders, acquired, degradation)
        clean = clean or sides
        for place, side in enumerate(sides):
            first = clean[place] if one_side else side
            reference = found[place][0].result if found[place] else None
            found[place].append(_judged(protocol, degradation, first, side, reference))
        advance(len(protocol.photos))
    return RobustnessReport(
        protocol=protocol.name,
        source=protocol.source,
        data=data,
        detector=shown,
        aligner=photos.aligner,
        one_side=one_side,
        photos=len(protocol.photos),
        failures=failures_of(acquired),
        models={name: tuple(rows) for name, rows in zip(names, found, strict=True)},
    )


def robustness_steps(protocol: Protocol[Result]) -> int:
    """The number of steps of `measure_robustness`: one per photo for its crop, and one per degradation."""
    return len(protocol.photos) * (2 + len(DEGRADATIONS))


@dataclass(frozen=True)
class _Side:
    """The photos on one side of a comparison: ``rows`` [N, D], NaN without a crop, and which are ``refused``
    [N] by the limits in the model's card, `None` if it has none."""

    rows: Embeddings
    refused: Flags | None


def _judged(
    protocol: PairList, degradation: Degradation, first: _Side, second: _Side, clean: PairResult | None
) -> Degraded:
    if first is second:
        # the millions of scores behind the operating points would accumulate over all degradations
        result = replace(protocol.evaluate(lambda _: second.rows), everyone=None)
    else:
        result = judge_two_sided(protocol, first.rows, second.rows).result
    threshold = (clean or result).rates.points[0].threshold
    kept = None if threshold is None else at_clean_threshold(result, threshold)
    if first.refused is None or second.refused is None:
        return Degraded(degradation, result, kept)
    where = {photo: place for place, photo in enumerate(protocol.photos)}
    answered = np.array(
        [not (first.refused[where[p.first]] or second.refused[where[p.second]]) for p in protocol.pairs]
    )
    within = None if threshold is None else at_clean_threshold(result, threshold, answered)
    if within is not None and not (within.mated and within.non_mated):
        within = None
    crops = np.isfinite(second.rows).all(axis=1)
    return Degraded(degradation, result, kept, float(np.mean(second.refused[crops])), within)


def at_clean_threshold(
    result: PairResult, threshold: float, answered: Flags | None = None
) -> AtCleanThreshold:
    """The completed listed pairs of ``result``, or only those that are ``answered``, at a fixed
    ``threshold``."""
    done, match = result.completed, result.scores >= threshold
    done = done if answered is None else done & answered
    yes, no = done & result.mated, done & ~result.mated
    return AtCleanThreshold(
        threshold, int(yes.sum()), int((yes & ~match).sum()), int(no.sum()), int((no & match).sum())
    )


def _embedded(
    embedders: Sequence[Embedder], photos: Sequence[AcquiredPhoto], degradation: Degradation
) -> list[_Side]:
    """The photos under ``degradation``, embedded by every model."""
    limits = [embedder.card.photo_limits for embedder in embedders]
    reasons = {limit.reason for known in limits if known for limit in known.limits}
    rows = [np.full((len(photos), e.card.embedding.dim), np.nan, np.float32) for e in embedders]
    refused = [np.zeros(len(photos), bool) for _ in embedders]

    def embed(places: Sequence[int]) -> list[tuple[Embeddings, list[bool]]]:
        worse = np.stack(
            [degradation.apply(photos[p].crops[ARCFACE_CROP], photo_seed(photos[p].name)) for p in places]
        )
        # measured once, for all models
        measures = [measure_faults(crop, reasons) for crop in worse]
        return [
            (
                embedder.embed(recrop(worse, ARCFACE_CROP, embedder.spec)),
                [limit is not None and bool(measured_beyond(measured, limit)) for measured in measures],
            )
            for embedder, limit in zip(embedders, limits, strict=True)
        ]

    there = [place for place, photo in enumerate(photos) if photo.reason is None]
    batches = [there[start : start + _BATCH] for start in range(0, len(there), _BATCH)]
    for batch, found in zip(batches, threaded(embed, batches), strict=True):
        for row, flags, (embedded, beyond_limits) in zip(rows, refused, found, strict=True):
            row[batch], flags[batch] = embedded, beyond_limits
    return [
        _Side(row, flags if limit else None) for row, flags, limit in zip(rows, refused, limits, strict=True)
    ]


def photo_seed(name: str) -> int:
    """A photo's own seed, derived from its name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
