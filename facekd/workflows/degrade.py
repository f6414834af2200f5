"""What do worse photos cost? One protocol, its crops made worse in many ways, models side by side."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from facekd.card import LandmarkCrop
from facekd.errors import CannotSay, InputOutput, Misfit, UsageError
from facekd.preprocess import ALIGNER, Pixels, cut, decode, find_face, make_detector, open_source, recrop
from facekd.runtime import Embedder, load_embedder, threads_available
from facekd.verification import PairList, PairResult, Protocol, Result
from facekd.verification.two_sided import judge_two_sided
from facekd.workflows.acquire import MISSING, Advance, Embeddings, locate
from facekd.workflows.degradations import CLEAN, DEGRADATIONS, Degradation
from facekd.workflows.degrade_report import AtCleanThreshold, DegradationReport, Degraded
from facekd.workflows.evaluate import GIVEN_CROPS, unique_names

_CROP = LandmarkCrop(size=112)
#: crops that are made worse and embedded at once
_BATCH = 32

Item = TypeVar("Item")
Made = TypeVar("Made")


def degrade(
    models: Sequence[Path],
    protocol: Protocol[Result],
    data: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    one_side: bool = False,
    advance: Advance = lambda done: None,
) -> DegradationReport:
    """Judge ``models`` by the pairs of ``protocol`` with its crops as they are and under each of
    `DEGRADATIONS`, on both photos of a pair or, ``one_side``, on the second only.

    Each photo is read, its face found and its 112-pixel ArcFace crop cut once (with ``detector`` `None` the
    images are such crops); this crop is made worse, then a model's own crop is made of it. Crops stay in
    memory, 38 kB each. ``advance`` is told how many more of `steps` are done.

    Raises `UsageError` where the protocol is no list of pairs, `Misfit` for a model of box crops, and what
    `evaluate` does.
    """
    if not isinstance(protocol, PairList):
        raise UsageError(
            f"protocol {protocol.name} lists no pairs of photos",
            "Worse photos are judged by lfw, pairs and lists like them.",
        )
    embedders = [load_embedder(model, device, 1) for model in models]
    for embedder in embedders:
        # a model that takes no crop made of a crop is told of before hours go into it
        recrop(np.empty((0, _CROP.size, _CROP.size, 3), np.uint8), _CROP, embedder.spec)
    shown = make_detector(detector, device, 1).name if detector else GIVEN_CROPS
    crops, failures = _acquire(protocol.photos, data, detector, device, advance)
    found: list[list[Degraded]] = [[] for _ in embedders]
    clean: list[Embeddings] = []
    for degradation in (CLEAN, *DEGRADATIONS):
        rows = _embedded(embedders, protocol.photos, crops, degradation)
        clean = clean or rows
        for place, embedded in enumerate(rows):
            first = clean[place] if one_side else embedded
            reference = found[place][0].result if found[place] else None
            found[place].append(_judged(protocol, degradation, first, embedded, reference))
        advance(len(protocol.photos))
    return DegradationReport(
        protocol=protocol.name,
        source=protocol.source,
        data=data,
        detector=shown,
        aligner=ALIGNER if detector else "that of the crops",
        one_side=one_side,
        photos=len(protocol.photos),
        failures=failures,
        models={name: tuple(rows) for name, rows in zip(unique_names(embedders), found, strict=True)},
    )


def steps(protocol: Protocol[Result]) -> int:
    """How many steps `degrade` takes: each photo once to its crop, and once for each degradation."""
    return len(protocol.photos) * (2 + len(DEGRADATIONS))


def _judged(
    protocol: PairList,
    degradation: Degradation,
    first: Embeddings,
    second: Embeddings,
    clean: PairResult | None,
) -> Degraded:
    if first is second:
        # the millions of scores behind the operating points would add up over all degradations
        result = replace(protocol.evaluate(lambda _: second), everyone=None)
    else:
        result = judge_two_sided(protocol, first, second).result
    point = (clean or result).rates.points[0]
    kept = None if point.threshold is None else at_clean_threshold(result, point.threshold)
    return Degraded(degradation, result, kept)


def at_clean_threshold(result: PairResult, threshold: float) -> AtCleanThreshold:
    """The completed listed pairs of ``result`` at a fixed ``threshold``."""
    done, match = result.completed, result.scores >= threshold
    yes, no = done & result.mated, done & ~result.mated
    return AtCleanThreshold(
        threshold, int(yes.sum()), int((yes & ~match).sum()), int(no.sum()), int((no & match).sum())
    )


Crops = dict[int, Pixels]


def _acquire(
    photos: Sequence[str], data: Path, detector: str | None, device: str, advance: Advance
) -> tuple[Crops, tuple[tuple[str, str], ...]]:
    """The crop of each photo by its place, and the photos without one, with the reason."""
    source = open_source(data)
    where = locate(photos, source.names())
    if not any(where):
        raise UsageError(
            f"{data}: none of the {len(photos)} photos that the list names is there",
            f"The first one looked for is {photos[0]}." if photos else "The list names no photo.",
        )
    # each thread has a detector and a handle on the data of its own
    own = threading.local()

    def crop_of(name: str | None) -> Pixels | str:
        if name is None:
            return MISSING
        if not hasattr(own, "source"):
            own.source = open_source(data)
            own.detector = make_detector(detector, device, 1) if detector else None
        try:
            photo = decode(own.source.read(name), name)
            if own.detector is None:
                return _finished(photo.pixels, name)
            return cut(photo.pixels, find_face(photo, own.detector), _CROP)
        except (CannotSay, InputOutput) as error:
            return error.reason

    crops, failures = {}, []
    for place, outcome in enumerate(_threaded(crop_of, where)):
        if isinstance(outcome, str):
            failures.append((photos[place], outcome))
        else:
            crops[place] = outcome
        advance(1)
    return crops, tuple(failures)


def _finished(pixels: Pixels, name: str) -> Pixels:
    if pixels.shape != (_CROP.size, _CROP.size, 3):
        raise Misfit(
            f"{name}: aligned crops are {_CROP.size} x {_CROP.size} pixels, this image is "
            f"{pixels.shape[1]} x {pixels.shape[0]}",
            "Leave --aligned out to start from photos.",
        )
    return pixels


def _embedded(
    embedders: Sequence[Embedder], photos: Sequence[str], crops: Crops, degradation: Degradation
) -> list[Embeddings]:
    """Embeddings [N, D] of every model, rows of NaN where there is no crop."""
    rows = [np.full((len(photos), e.card.embedding.dim), np.nan, np.float32) for e in embedders]

    def embed(places: NDArray[np.intp]) -> list[Embeddings]:
        worse = np.stack([degradation.apply(crops[p], photo_seed(photos[p])) for p in places.tolist()])
        return [embedder.embed(recrop(worse, _CROP, embedder.spec)) for embedder in embedders]

    there = np.array(sorted(crops))
    batches = [there[start : start + _BATCH] for start in range(0, there.size, _BATCH)]
    for batch, found in zip(batches, _threaded(embed, batches), strict=True):
        for row, embedded in zip(rows, found, strict=True):
            row[batch] = embedded
    return rows


def photo_seed(name: str) -> int:
    """A seed that is a photo's own, from its name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _threaded(function: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """``function`` of each item in order, on all processors: the libraries that do the work (decoders,
    OpenCV, ONNX Runtime) let other threads run meanwhile."""
    pool = ThreadPoolExecutor(threads_available())
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
