"""Turn a path, the bytes of an image file, or pixels into a `Photo`."""

from __future__ import annotations

import hashlib
import os

import numpy as np

from facekd.errors import UsageError
from facekd.geometry import Pixels
from facekd.preprocess.decoding import check_size, decode
from facekd.preprocess.types import Photo

#: a path, the bytes of an image file, or pixels: uint8 RGB [H, W, 3], upright
PhotoLike = str | os.PathLike[str] | bytes | Pixels


def as_photo(photo: PhotoLike, name: str = "") -> Photo:
    """The `Photo` from a path, the bytes of an image file, or an array of pixels.

    An array is uint8 [H, W, 3] in the order red, green, blue (OpenCV reads blue, green, red: reverse it
    with ``pixels[:, :, ::-1]``), upright, and is neither scaled nor changed. ``name`` is the photo's
    name in errors (by default the path).

    Raises `TypeError` for anything else, `UsageError` for an array of another type or shape, and what
    `decode` raises for a file.
    """
    if isinstance(photo, np.ndarray):
        return _of_pixels(photo, name or "the array")
    if isinstance(photo, str | os.PathLike | bytes):
        return decode(photo, name)
    raise TypeError(
        "a photo is a path, the bytes of an image file or a uint8 RGB array [H, W, 3], "
        f"not {type(photo).__name__}"
    )


def digest_of(photo: bytes | Pixels) -> str:
    """The SHA-256 that identifies a photo: of the bytes of its file; for pixels, of a line with their shape
    and their values, so the same picture as a file is a different photo."""
    if isinstance(photo, bytes):
        return hashlib.sha256(photo).hexdigest()
    found = hashlib.sha256(f"uint8 RGB {photo.shape[0]} x {photo.shape[1]}\n".encode())
    found.update(np.ascontiguousarray(photo).data)
    return found.hexdigest()


def _of_pixels(pixels: Pixels, name: str) -> Photo:
    if pixels.dtype != np.uint8:
        fix = "To convert values from 0 to 1: (255 * pixels).round().astype(np.uint8)."
        raise UsageError(
            f"{name}: pixels must be uint8, from 0 to 255, not {pixels.dtype}",
            fix if np.issubdtype(pixels.dtype, np.floating) else None,
        )
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise UsageError(f"{name}: pixels must be an RGB array [H, W, 3], not {list(pixels.shape)}")
    check_size(pixels.shape[1], pixels.shape[0], name)
    return Photo(name, np.ascontiguousarray(pixels), digest_of(pixels))
