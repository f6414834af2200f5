"""Find unusable crops, and report all of them at once before anything is computed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from facekd.errors import FacekdError, InputOutput, Misfit, Unreadable, UsageError
from facekd.files import write_atomically
from facekd.training.data.crops import CropSet

#: unusable crops that an error lists, one per line
_NAMED = 200
#: crops that are sampled to see whether they are blank, and the grey levels that count as content
_SEEN, _LEVELS = 64, 8


def require_usable(crops: CropSet, cache: Path) -> None:
    """Raise one error that names every crop that is not an image, is truncated, or has another size, and
    `UsageError` if all crops in a sample are blank.

    Every file and its header are read; only a few are decoded. The result is stored below
    ``cache``, so that the next run on the same crops skips the check.
    """
    noted = cache / "checked" / crops.digest
    if noted.is_file():
        return
    _raise_for(list(_unusable(crops, _header_fault)), len(crops))
    _require_something_to_see(crops)
    write_atomically(noted, b"")


def require_decodable(crops: CropSet, threads: int = 1) -> None:
    """As `require_usable`, but by decoding every crop: called when one of them could not be decoded."""
    _raise_for(list(_unusable(crops, _decoding_fault, threads)), len(crops))


def _unusable(
    crops: CropSet, fault: Callable[[CropSet, int], FacekdError | None], threads: int = 1
) -> Iterator[FacekdError]:
    look = partial(fault, crops)
    with ThreadPoolExecutor(threads) as pool:
        yield from (found for found in pool.map(look, range(len(crops)), chunksize=256) if found)


def _decoding_fault(crops: CropSet, index: int) -> FacekdError | None:
    try:
        crops.read(index)
    except FacekdError as error:
        return error
    return None


def _header_fault(crops: CropSet, index: int) -> FacekdError | None:
    from PIL import Image

    place = crops.place(index)
    try:
        written = crops.encoded(index)
        with Image.open(io.BytesIO(written)) as image:
            size, kind = image.size, image.format
    except FacekdError as error:
        return error
    except Exception:
        return Unreadable(f"{place}: not an image")
    if size != (crops.size, crops.size):
        return Misfit(f"{place}: {size[0]} x {size[1]} pixels, not {crops.size}")
    # a decoder fills the missing part of a file with grey
    end = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(kind or "")
    return Unreadable(f"{place}: truncated") if end and end not in written else None


def _raise_for(faults: list[FacekdError], total: int) -> None:
    if not faults:
        return
    lines = [fault.cause for fault in faults[:_NAMED]]
    if len(faults) > _NAMED:
        lines.append(f"and {len(faults) - _NAMED:,} more")
    kind = Unreadable if any(isinstance(fault, InputOutput) for fault in faults) else Misfit
    raise kind(
        "\n  ".join([f"{len(faults):,} of {total:,} crops cannot be used", *lines]),
        "List them in a file under data.exclude, as PACK/NAME, or cut them again with 'facekd align'.",
    )


def _require_something_to_see(crops: CropSet) -> None:
    looked_at = np.unique(np.linspace(0, len(crops) - 1, _SEEN).astype(int)).tolist()
    if any(np.ptp(crops.read(index)) > _LEVELS for index in looked_at):
        return
    packs = ", ".join(str(source.path) for source in crops.sources)
    raise UsageError(
        f"{packs}: all {len(looked_at)} crops in a sample are of one colour: there are no faces in them",
        "Check how they were made: 'facekd align' cuts crops from photos.",
    )
