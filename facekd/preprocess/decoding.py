"""File to pixels: one decoder for training, evaluation and verification.

Input is hostile. The size is read from the header and checked before a pixel is decoded, only
formats that photos come in are tried, and whatever a decoder raises ends as `Unreadable`.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facekd.errors import TooLarge, Unreadable
from facekd.geometry import Pixels
from facekd.preprocess.sources.base import MAX_BYTES, read_file
from facekd.preprocess.types import Photo

if TYPE_CHECKING:
    from PIL import Image

#: pixels of the largest photo that is decoded: 300 MB as RGB
MAX_PIXELS = 100_000_000
#: the formats that are tried (JPEG with it the two-view files of some cameras, called MPO)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")


def decode(data: bytes | str | os.PathLike[str], name: str = "") -> Photo:
    """The photo in ``data``, the bytes of an image file or its path.

    The result is RGB, 8 bits, upright: EXIF orientation is applied, grey and CMYK are converted,
    16 bits are divided by 257, transparency is laid on white, and of an animation the first frame
    is taken. ``name`` is what errors and reports call the photo (the path by default).

    Raises `TooLarge` above `MAX_PIXELS` or `MAX_BYTES` before anything is decoded, `Unreadable`
    for what is no image or is cut short, `InputOutput` where the file cannot be read.
    """
    if not isinstance(data, bytes):
        name = name or os.fspath(data)
        data = read_file(Path(data))
    name = name or "the image"
    if not data:
        raise Unreadable(f"{name}: the file is empty")
    if len(data) > MAX_BYTES:
        raise TooLarge(f"{name}: {len(data):,} bytes, the limit is {MAX_BYTES:,}")
    return Photo(name, _pixels(data, name), hashlib.sha256(data).hexdigest())


def _pixels(data: bytes, name: str) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; the limit here is our own, two lines down
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(image.size, name)
            image.load()
            return np.ascontiguousarray(_rgb(_upright(image)))
    except TooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"{name}: refused before decoding, more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise Unreadable(f"{name}: not an image, or of an unknown format") from error
    except Exception as error:
        # decoders of hostile files raise anything: OSError, SyntaxError, ValueError, struct.error
        raise Unreadable(f"{name}: {str(error) or type(error).__name__}") from error


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise TooLarge(
            f"{name}: {width} x {height} pixels, the limit is {MAX_PIXELS:,}",
            "It was refused before decoding. Reduce the photo first.",
        )


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # a broken EXIF block says nothing about the pixels
        return image


def _rgb(image: Image.Image) -> Pixels:
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(deep: np.ndarray) -> Pixels:
    """16-bit grey [H, W] (whatever integer it came in) to 8 bits, 65535 to 255."""
    if deep.size and (deep.min() < 0 or deep.max() > 65535):
        raise ValueError("more than 16 bits a pixel")
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
