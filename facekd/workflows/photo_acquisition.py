"""Photos to crops, and to embeddings of several models: the one loop that reads, detects and cuts.

Each photo is read once and its face detected once; then it is cut for each model. `embed_photos` does this in
worker processes that return embeddings, so memory is limited to a few photos per worker, however many photos
there are. `crop_photos` does it in threads and yields the crops one by one.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP, CropSpec
from facekd.errors import CannotSay, InputOutput, Misfit, UsageError
from facekd.geometry import Pixels, recrop
from facekd.preprocess import (
    ALIGNER,
    MISSING,
    AcquiredPhoto,
    cut,
    decode,
    failures_of,
    find_face,
    open_source,
    quality,
)
from facekd.preprocess.detectors import make_detector
from facekd.runtime import Embedder, load_embedder, threaded, threads_available, unit_rows
from facekd.workflows.locate_photos import locate

#: fewer photos are not worth starting workers for
WORTH_WORKERS = 200
_CHUNK = 16

Embeddings = NDArray[np.float32]
Advance = Callable[[int], object]


class CropOrigin(NamedTuple):
    """What cut given crops, as cards and reports state it."""

    detector: str = "none (aligned crops given)"
    aligner: str = "that of the crops"


#: of crops that come without a word about it
UNSTATED = CropOrigin()


@dataclass(frozen=True)
class PhotoSet:
    """The photos in ``data``, a folder or a pack, and the ``detector`` that finds their faces on
    ``device``; with `None`, the images are finished 112-pixel ArcFace crops, of the given ``origin``."""

    data: Path
    detector: str | None = "mtcnn"
    device: str = "cpu"
    origin: CropOrigin = UNSTATED

    def detector_name(self) -> str:
        """The detector for cards and reports; raises what `make_detector` raises."""
        if self.detector is None:
            return self.origin.detector
        return make_detector(self.detector, self.device, 1).name

    @property
    def aligner(self) -> str:
        """The aligner for cards and reports."""
        return ALIGNER if self.detector else self.origin.aligner


@dataclass(frozen=True)
class EmbeddedPhotos:
    """``embeddings`` [N, D] of the ``photos`` [N] for each model, in the order of the models; the rows of
    photos without an embedding are NaN."""

    photos: tuple[AcquiredPhoto, ...]
    embeddings: tuple[Embeddings, ...]

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """The photos without an embedding, each with the reason."""
        return failures_of(self.photos)


def crop_photos(
    photos: PhotoSet,
    names: Sequence[str],
    specs: Sequence[CropSpec],
    advance: Advance = lambda done: None,
) -> Iterator[AcquiredPhoto]:
    """Yield the photos ``names``, as in a protocol, in order, each with its crop for every spec.

    Threads work a little ahead. A crop of 112 pixels takes 38 kB of memory. Raises `UsageError` if none of
    the photos is in the data, `Misfit` for a finished crop of another size.
    """
    # each thread has its own detector and its own handle on the data
    own = threading.local()

    def acquired(wanted: _Wanted) -> AcquiredPhoto:
        if not hasattr(own, "cropper"):
            own.cropper = _Cropper(photos, threads=1)
        cropper: _Cropper = own.cropper
        return cropper.acquire(wanted, specs)

    if names:
        for photo in threaded(acquired, _wanted(photos, names)):
            advance(1)
            yield photo


def embed_photos(
    photos: PhotoSet,
    names: Sequence[str],
    models: Sequence[Path],
    *,
    flip: bool = False,
    rate_quality: bool = False,
    keep: Collection[str] = (),
    advance: Advance = lambda done: None,
) -> EmbeddedPhotos:
    """Embed the photos ``names``, as in a protocol, by each of ``models``.

    ``flip`` adds the embedding of the crop's mirror image to that of the crop. ``rate_quality`` computes the
    quality of each photo's 112-pixel ArcFace crop; the crops of the photos in ``keep`` are kept. Many photos
    are distributed over spawned processes: a script that calls this must do so under
    ``if __name__ == "__main__"``.

    Raises `UsageError` if none of the photos is in the data; otherwise a missing photo has the reason
    `MISSING`, and one that cannot be read or shows no usable face another reason.
    """
    wanted = _wanted(photos, names, frozenset(keep))
    there = [place for place, photo in enumerate(wanted) if photo.at is not None]
    advance(len(names) - len(there))
    acquired = [AcquiredPhoto(name, reason=MISSING) for name in names]
    rows: list[Embeddings] = []
    chunks = [there[start : start + _CHUNK] for start in range(0, len(there), _CHUNK)]
    order = _Order(photos, tuple(models), flip, rate_quality)
    results = _run(order, [[wanted[place] for place in chunk] for chunk in chunks])
    for chunk, done in zip(chunks, results, strict=True):
        rows = rows or [np.full((len(names), r.shape[1]), np.nan, np.float32) for r in done.embeddings]
        for row, found in zip(rows, done.embeddings, strict=True):
            row[chunk] = found
        for place, photo in zip(chunk, done.photos, strict=True):
            acquired[place] = photo
        advance(len(chunk))
    return EmbeddedPhotos(tuple(acquired), tuple(rows))


class _Wanted(NamedTuple):
    """A photo by its ``name`` in the list and its place in the data, ``at``, `None` if it is missing;
    ``keep`` keeps its ArcFace crop when it is embedded."""

    name: str
    at: str | None
    keep: bool


def _wanted(photos: PhotoSet, names: Sequence[str], keep: Collection[str] = frozenset()) -> list[_Wanted]:
    where = locate(names, open_source(photos.data).names())
    if not any(where):
        raise UsageError(
            f"{photos.data}: none of the {len(names)} photos in the list exists",
            f"The first of them is {names[0]}." if names else "The list names no photo.",
        )
    return [_Wanted(name, at, name in keep) for name, at in zip(names, where, strict=True)]


class _Cropper:
    """Turns photos into crops, with a handle on the data and a detector of its own, for one thread."""

    def __init__(self, photos: PhotoSet, threads: int, rate_quality: bool = False) -> None:
        self._source = open_source(photos.data)
        self._detector = make_detector(photos.detector, photos.device, threads) if photos.detector else None
        self._rate_quality = rate_quality

    def acquire(self, wanted: _Wanted, specs: Sequence[CropSpec]) -> AcquiredPhoto:
        """The photo with its crop for each spec, or the reason why there is none."""
        if wanted.at is None:
            return AcquiredPhoto(wanted.name, reason=MISSING)
        try:
            return self._acquired(wanted.name, wanted.at, specs)
        except (CannotSay, InputOutput) as error:
            return AcquiredPhoto(wanted.name, reason=error.reason)

    def _acquired(self, name: str, at: str, specs: Sequence[CropSpec]) -> AcquiredPhoto:
        photo = decode(self._source.read(at), at)
        if self._detector is None:
            crop = _finished_crop(photo.pixels, at)
            return AcquiredPhoto(name, {spec: recrop(crop[None], ARCFACE_CROP, spec)[0] for spec in specs})
        face = find_face(photo, self._detector)
        crops = {spec: cut(photo.pixels, face, spec) for spec in specs}
        if not self._rate_quality:
            return AcquiredPhoto(name, crops)
        rated = crops[ARCFACE_CROP] if ARCFACE_CROP in crops else cut(photo.pixels, face, ARCFACE_CROP)
        return AcquiredPhoto(name, crops, quality(rated, face))


def _finished_crop(pixels: Pixels, name: str) -> Pixels:
    """``pixels``, if they have the size of finished crops. Raises `Misfit` otherwise."""
    side = ARCFACE_CROP.size
    if pixels.shape != (side, side, 3):
        raise Misfit(
            f"{name}: aligned crops are {side} x {side} pixels, this image is "
            f"{pixels.shape[1]} x {pixels.shape[0]}",
            "Omit --aligned to start from photos.",
        )
    return pixels


@dataclass(frozen=True)
class _Order:
    """What each process is to do with its photos."""

    photos: PhotoSet
    models: tuple[Path, ...]
    flip: bool
    rate_quality: bool


class _EmbeddingWorker:
    """Embeds photos in one process."""

    def __init__(self, order: _Order, threads: int) -> None:
        device = order.photos.device
        self._flip = order.flip
        self._embedders: list[Embedder] = [load_embedder(m, device, threads) for m in order.models]
        self._specs = list(dict.fromkeys(embedder.spec for embedder in self._embedders))
        self._cropper = _Cropper(order.photos, threads, order.rate_quality)

    def __call__(self, wanted: Sequence[_Wanted]) -> EmbeddedPhotos:
        photos = [self._cropper.acquire(photo, self._specs_of(photo)) for photo in wanted]
        rows = tuple(self._embedded(embedder, photos) for embedder in self._embedders)
        kept = [self._kept(photo, asked.keep) for photo, asked in zip(photos, wanted, strict=True)]
        return EmbeddedPhotos(tuple(kept), rows)

    def _specs_of(self, photo: _Wanted) -> list[CropSpec]:
        return list(dict.fromkeys([*self._specs, ARCFACE_CROP])) if photo.keep else self._specs

    def _kept(self, photo: AcquiredPhoto, keep: bool) -> AcquiredPhoto:
        crops: dict[CropSpec, Pixels] = {}
        if keep and photo.crops:
            crops[ARCFACE_CROP] = photo.crops[ARCFACE_CROP]
        return replace(photo, crops=crops)

    def _embedded(self, embedder: Embedder, photos: Sequence[AcquiredPhoto]) -> Embeddings:
        rows = np.full((len(photos), embedder.card.embedding.dim), np.nan, np.float32)
        got = [place for place, photo in enumerate(photos) if photo.reason is None]
        if got:
            crops = np.stack([photos[place].crops[embedder.spec] for place in got])
            found = embedder.embed(crops)
            rows[got] = unit_rows(found + embedder.embed(crops[:, :, ::-1])) if self._flip else found
        return rows


def _run(order: _Order, chunks: list[list[_Wanted]]) -> Iterator[EmbeddedPhotos]:
    """The results of the chunks in order, from worker processes if that is faster."""
    photos, workers = order.photos, min(threads_available(), len(chunks))
    if photos.device != "cpu" or workers == 1 or sum(map(len, chunks)) < WORTH_WORKERS:
        yield from map(_EmbeddingWorker(order, threads_available()), chunks)
        return
    # a fault of the detector is raised here, once, and its networks are converted here on first use
    photos.detector_name()
    # a forked process would inherit locks held by threads that it does not have
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (order,))
    try:
        yield from pool.map(_work, chunks)
    except BrokenProcessPool as error:
        raise InputOutput(
            "a worker process died, perhaps out of memory",
            "Evaluate fewer models at a time, or use fewer processors (taskset).",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker: _EmbeddingWorker | None = None


def _start_worker(order: _Order) -> None:
    global _worker
    import cv2

    cv2.setNumThreads(1)
    _worker = _EmbeddingWorker(order, threads=1)


def _work(wanted: list[_Wanted]) -> EmbeddedPhotos:
    assert _worker is not None
    return _worker(wanted)
