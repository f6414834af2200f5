"""Photos to embeddings of several models, spread over the cores.

Each photo is read once and its face found once; then it is cut as each model asks and embedded.
Worker processes do all of this and send embeddings back, so memory stays bounded by a few photos
for each worker however many there are.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP
from facekd.errors import CannotSay, InputOutput, Misfit, UsageError
from facekd.geometry import Pixels, recrop
from facekd.preprocess import Source, cut, decode, find_face, open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import Embedder, load_embedder, threads_available, unit_rows

#: why a photo has no embedding although it is there: `missing` is for those that are not
MISSING = "missing"
_CHUNK = 16
#: below this many photos, starting workers takes longer than they save
_WORTH_WORKERS = 200

Embeddings = NDArray[np.float32]
Advance = Callable[[int], object]


@dataclass(frozen=True)
class Plan:
    """How photos become embeddings. ``detector`` `None` takes the images for finished 112-pixel
    ArcFace crops. ``flip`` adds the embedding of the crop's mirror image to that of the crop."""

    data: Path
    models: tuple[Path, ...]
    detector: str | None = "mtcnn"
    device: str = "cpu"
    flip: bool = False


@dataclass(frozen=True)
class Acquired:
    """``embeddings`` [N, D] for each model, in the order of the plan, rows of NaN where a photo
    gave none; ``reasons`` [N] says why it did not (`None` where it did)."""

    embeddings: tuple[Embeddings, ...]
    reasons: tuple[str | None, ...]


def acquire(plan: Plan, photos: Sequence[str], advance: Advance = lambda done: None) -> Acquired:
    """Embed ``photos`` (names as a protocol writes them) under ``plan``.

    Many photos are spread over spawned processes: a script that calls this must do so under
    ``if __name__ == "__main__"``.

    Raises `UsageError` where none of the photos is in the data; else a photo that is not there has
    the reason `MISSING`, one that cannot be read or shows no usable face another.
    """
    where = locate(photos, open_source(plan.data).names())
    there = [index for index, name in enumerate(where) if name is not None]
    if not there:
        raise UsageError(
            f"{plan.data}: none of the {len(photos)} photos that the list names is there",
            f"The first one looked for is {photos[0]}." if photos else "The list names no photo.",
        )
    advance(len(photos) - len(there))
    reasons: list[str | None] = [MISSING] * len(photos)
    rows: list[Embeddings | None] = [None] * len(plan.models)
    chunks = [there[start : start + _CHUNK] for start in range(0, len(there), _CHUNK)]
    names = [[str(where[index]) for index in chunk] for chunk in chunks]
    for chunk, done in zip(chunks, _run(plan, names), strict=True):
        for model, found in enumerate(done.embeddings):
            if rows[model] is None:
                rows[model] = np.full((len(photos), found.shape[1]), np.nan, np.float32)
            rows[model][chunk] = found  # type: ignore[index]
        for index, reason in zip(chunk, done.reasons, strict=True):
            reasons[index] = reason
        advance(len(chunk))
    return Acquired(tuple(row for row in rows if row is not None), tuple(reasons))


def locate(wanted: Sequence[str], names: Sequence[str]) -> list[str | None]:
    """The name in ``names`` for each of ``wanted``, `None` where there is none.

    The images may lie below further folders, and may have been written with another suffix. Raises
    `UsageError` where two would serve equally well.
    """
    exact = set(names)
    by_file: dict[str, list[str]] = {}
    for name in names:
        by_file.setdefault(_stem(name).rpartition("/")[2], []).append(name)
    return [name if name in exact else _only(name, by_file) for name in wanted]


def _only(wanted: str, by_file: dict[str, list[str]]) -> str | None:
    ending = "/" + _stem(wanted)
    near = [n for n in by_file.get(ending.rpartition("/")[2], []) if f"/{_stem(n)}".endswith(ending)]
    same_suffix = [name for name in near if name.endswith(wanted)]
    found = same_suffix or near
    if len(found) > 1:
        raise UsageError(
            f"{wanted}: the data holds it {len(found)} times: {found[0]}, {found[1]}",
            "Give the folder that the list's paths start from.",
        )
    return found[0] if found else None


def finished_crop(pixels: Pixels, name: str) -> Pixels:
    """``pixels``, which must be of the size of finished crops, else `Misfit`."""
    side = ARCFACE_CROP.size
    if pixels.shape != (side, side, 3):
        raise Misfit(
            f"{name}: aligned crops are {side} x {side} pixels, this image is "
            f"{pixels.shape[1]} x {pixels.shape[0]}",
            "Leave --aligned out to start from photos.",
        )
    return pixels


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _run(plan: Plan, chunks: list[list[str]]) -> Iterator[Acquired]:
    """The chunks' results in order, from workers where that pays."""
    workers = min(threads_available(), len(chunks))
    if plan.device != "cpu" or workers == 1 or sum(map(len, chunks)) < _WORTH_WORKERS:
        job = Job(plan, threads_available())
        yield from map(job, chunks)
        return
    if plan.detector is not None:
        # a fault of the detector is told here, once, and first use converts its networks here
        make_detector(plan.detector, plan.device, 1)
    # a forked process would inherit the locks of threads that do not exist in it
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (plan,))
    try:
        yield from pool.map(_work, chunks)
    except BrokenProcessPool as error:
        raise InputOutput(
            "a worker process died, perhaps for want of memory",
            "Evaluate fewer models at a time, or let the process run on fewer processors (taskset).",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_job: Job | None = None


def _start_worker(plan: Plan) -> None:
    global _job
    import cv2

    cv2.setNumThreads(1)
    _job = Job(plan, threads=1)


def _work(names: list[str]) -> Acquired:
    assert _job is not None
    return _job(names)


class Job:
    """What one process does: names in the data to embeddings."""

    def __init__(self, plan: Plan, threads: int) -> None:
        self._flip = plan.flip
        self._source: Source = open_source(plan.data)
        self._embedders: list[Embedder] = [load_embedder(m, plan.device, threads) for m in plan.models]
        self._specs = list(dict.fromkeys(embedder.spec for embedder in self._embedders))
        self._detector = make_detector(plan.detector, plan.device, threads) if plan.detector else None

    def __call__(self, names: Sequence[str]) -> Acquired:
        outcomes = [self._crops(name) for name in names]
        got = [index for index, outcome in enumerate(outcomes) if not isinstance(outcome, str)]
        rows = []
        for embedder in self._embedders:
            found = np.full((len(names), embedder.card.embedding.dim), np.nan, np.float32)
            if got:
                place = self._specs.index(embedder.spec)
                crops = np.stack([outcomes[index][place] for index in got])  # type: ignore[arg-type]
                found[got] = self._embed(embedder, crops)
            rows.append(found)
        reasons = tuple(outcome if isinstance(outcome, str) else None for outcome in outcomes)
        return Acquired(tuple(rows), reasons)

    def _embed(self, embedder: Embedder, crops: Pixels) -> Embeddings:
        found = embedder.embed(crops)
        return unit_rows(found + embedder.embed(crops[:, :, ::-1])) if self._flip else found

    def _crops(self, name: str) -> list[Pixels] | str:
        """The crop for each spec, or why there is none."""
        try:
            photo = decode(self._source.read(name), name)
            if self._detector is None:
                return self._recrops(photo.pixels, name)
            face = find_face(photo, self._detector)
            return [cut(photo.pixels, face, spec) for spec in self._specs]
        except (CannotSay, InputOutput) as error:
            return error.reason

    def _recrops(self, pixels: Pixels, name: str) -> list[Pixels]:
        crop = finished_crop(pixels, name)
        return [recrop(crop[None], ARCFACE_CROP, spec)[0] for spec in self._specs]
