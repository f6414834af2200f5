"""Crops that cannot be trained on, all of them named at once and before anything is computed."""

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

#: unusable crops that an error names, a line each
_NAMED = 200
#: crops that are looked at for whether they show anything, and the grey levels that count as something
_SEEN, _LEVELS = 64, 8


def require_usable(crops: CropSet, cache: Path) -> None:
    """Raise one error that names every crop which is no image, cut short, or of another size, and
    `UsageError` where none of them shows anything.

    Each file is read, and its header; nothing is decoded but a few. What was found good is noted below
    ``cache``, so that the next run on the same crops does not look again.
    """
    noted = cache / "checked" / crops.digest
    if noted.is_file():
        return
    _raise_for(list(_unusable(crops, _header_fault)), len(crops))
    _require_something_to_see(crops)
    write_atomically(noted, b"")


def require_decodable(crops: CropSet, threads: int = 1) -> None:
    """As `require_usable`, by decoding every crop: for when one of them could not be."""
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
    # a decoder fills up what a file lacks with grey
    end = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(kind or "")
    return Unreadable(f"{place}: cut short") if end and end not in written else None


def _raise_for(faults: list[FacekdError], total: int) -> None:
    if not faults:
        return
    lines = [fault.cause for fault in faults[:_NAMED]]
    if len(faults) > _NAMED:
        lines.append(f"and {len(faults) - _NAMED:,} more")
    kind = Unreadable if any(isinstance(fault, InputOutput) for fault in faults) else Misfit
    raise kind(
        "\n  ".join([f"{len(faults):,} of {total:,} crops cannot be trained on", *lines]),
        "Name them in a list under data.exclude, as PACK/NAME, or cut them anew with 'facekd align'.",
    )


def _require_something_to_see(crops: CropSet) -> None:
    looked_at = np.unique(np.linspace(0, len(crops) - 1, _SEEN).astype(int)).tolist()
    if any(np.ptp(crops.read(index)) > _LEVELS for index in looked_at):
        return
    packs = ", ".join(str(source.path) for source in crops.sources)
    raise UsageError(
        f"{packs}: all {len(looked_at)} crops that were looked at are of one colour: there are no faces",
        "See how they were made: 'facekd align' writes crops of photos.",
    )
