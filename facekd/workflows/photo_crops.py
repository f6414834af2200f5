"""Photos to the 112-pixel ArcFace crops that are measured and made worse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from facekd.card import ARCFACE_CROP
from facekd.errors import CannotSay, InputOutput, UsageError
from facekd.geometry import Pixels
from facekd.preprocess import cut, decode, find_face, open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import threads_available
from facekd.workflows.photo_embeddings import MISSING, Advance, finished_crop, locate

#: crops uint8 RGB [112, 112, 3] by the place of their photo
Crops = dict[int, Pixels]

Item = TypeVar("Item")
Made = TypeVar("Made")


def acquire_crops(
    photos: Sequence[str], data: Path, detector: str | None, device: str, advance: Advance
) -> tuple[Crops, tuple[tuple[str, str], ...]]:
    """The crop of each photo by its place, and the photos without one, with the reason; ``detector``
    `None` takes the images for crops. They stay in memory, 38 kB each.

    Raises `UsageError` where none of the photos is in the data, `Misfit` for a crop of another size.
    """
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
                return finished_crop(photo.pixels, name)
            return cut(photo.pixels, find_face(photo, own.detector), ARCFACE_CROP)
        except (CannotSay, InputOutput) as error:
            return error.reason

    crops, failures = {}, []
    for place, outcome in enumerate(threaded(crop_of, where)):
        if isinstance(outcome, str):
            failures.append((photos[place], outcome))
        else:
            crops[place] = outcome
        advance(1)
    return crops, tuple(failures)


def threaded(function: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """``function`` of each item in order, on all processors: the libraries that do the work (decoders,
    OpenCV, ONNX Runtime) let other threads run meanwhile."""
    pool = ThreadPoolExecutor(threads_available())
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
