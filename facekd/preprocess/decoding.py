"""File to pixels: one decoder for training, evaluation and verification.

Input is hostile. The size is read from the header and checked before any pixel is decoded, only
formats used for photos are tried, and every error of a decoder becomes `Unreadable`.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facekd.errors import TooLarge, Unreadable
from facekd.geometry import Pixels
from facekd.preprocess.sources.base import MAX_BYTES, read_file
from facekd.preprocess.types import Photo

if TYPE_CHECKING:
    from PIL import Image

#: pixels of the largest photo that is decoded: 300 MB as RGB, and less than 1 GiB while decoding
MAX_PIXELS = 100_000_000
#: libwebp and Pillow together hold 15 bytes per pixel, video decoders have planes of their own, and other
#: formats take 8
_HEAVY = {"WEBP", "AVIF", "HEIF"}
_MAX_HEAVY_PIXELS = 50_000_000
#: the longer side of a photo over the shorter one: in the copy that detectors see, a longer photo would be
#: less than 20 pixels wide, and no detector finds a face in that
MAX_ASPECT = 64
#: pixels converted at a time
_PART = 4_000_000
#: EXIF's orientation tag, and the operation that makes each of its values upright (EXIF 2.3)
_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored),
}
#: the formats that are tried (JPEG includes MPO, the two-view files of some cameras)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
#: brands in the files of phones (ISO/IEC 23008-12, annex B; AV1 Image File Format, section 8)
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
#: common names of formats that Pillow calls otherwise
_SPOKEN = {"HEIF": "HEIC", "WEBP": "WebP"}


def decode(data: bytes | str | os.PathLike[str], name: str = "") -> Photo:
    """The photo in ``data``, the bytes or the path of an image file.

    The result is RGB, 8 bits, upright: EXIF orientation is applied, grey and CMYK are converted,
    16 bits are divided by 257, transparency is composed over white, and the first frame of an
    animation is used. ``name`` is the photo's name in errors and reports (by default the path).

    Raises `TooLarge` above `MAX_PIXELS`, `MAX_ASPECT` or `MAX_BYTES`, before anything is decoded;
    `Unreadable` if it is not an image or is cut short; `InputOutput` if the file cannot be read.
    """
    if not isinstance(data, bytes):
        name = name or os.fspath(data)
        data = read_file(Path(data))
    name = name or "the image"
    if not data:
        raise Unreadable(f"{name}: the file is empty")
    if len(data) > MAX_BYTES:
        raise TooLarge(f"{name}: {len(data):,} bytes; the limit is {MAX_BYTES:,}")
    return Photo(name, _pixels(data, name), hashlib.sha256(data).hexdigest())


def _pixels(data: bytes, name: str) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns about large images; the limit of this module is checked two lines below
            warnings.simplefilter("ignore")
            formats = _likely_formats(data, name)
            image = Image.open(io.BytesIO(data), formats=formats)
            check_size(image.width, image.height, name, _MAX_HEAVY_PIXELS if image.format in _HEAVY else None)
            pixels = _rgb_of_crop(data, image)
            if pixels is None:
                image.load()
                pixels = _rgb(image)
            turn = _orientation(image)
        del image  # two thirds of the memory, before rotating takes more
        return np.ascontiguousarray(_UPRIGHT[turn](pixels))
    except (TooLarge, Unreadable):
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"{name}: refused before decoding, more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        if len(formats) == 1:
            raise Unreadable(f"{name}: a damaged {_SPOKEN.get(formats[0], formats[0])} photo") from error
        raise Unreadable(f"{name}: not an image, or in an unknown format") from error
    except Exception as error:
        # given hostile files, decoders raise anything: OSError, SyntaxError, ValueError, struct.error
        raise Unreadable(f"{name}: {str(error) or type(error).__name__}") from error


def _likely_formats(data: bytes, name: str) -> tuple[str, ...]:
    """The formats to try: Pillow tries them in turn, and each failure takes as long as decoding a crop.
    Raises `Unreadable` if the decoder of a format is not installed."""
    if data[:4] == b"RIFF":
        return ("WEBP",)
    if data[4:8] != b"ftyp":
        return FORMATS
    brands = {data[at : at + 4] for at in range(8, min(int.from_bytes(data[:4]), len(data), 512), 4)}
    if brands & _AVIF_BRANDS:
        from PIL import features

        if not features.check("avif"):
            raise Unreadable(
                f"{name}: an AVIF photo, which this Pillow does not read", "Install pillow 11.3."
            )
        return ("AVIF",)
    if brands & _HEIC_BRANDS:
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise Unreadable(
                f"{name}: a HEIC photo, which needs pillow-heif",
                "Install it with: pip install 'facekd[heic]'",
            ) from None
        register_heif_opener()
        return ("HEIF",)
    raise Unreadable(f"{name}: a video, or a photo in an unknown format")


def check_size(width: int, height: int, name: str, limit: int | None = None) -> None:
    """Raise `TooLarge` for a photo of more than ``limit`` (by default `MAX_PIXELS`) pixels, or with too large
    an aspect ratio."""
    limit = min(MAX_PIXELS, limit or MAX_PIXELS)
    if width * height > limit:
        raise TooLarge(
            f"{name}: {width} x {height} pixels; the limit is {limit:,}",
            "Reduce the photo first.",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise TooLarge(
            f"{name}: {width} x {height} pixels, more than {MAX_ASPECT} times as long as wide",
            "Crop the photo to the face.",
        )


def _orientation(image: Image.Image) -> int:
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        # a broken EXIF block does not affect the pixels
        return 1
    return turn if turn in _UPRIGHT else 1


def _rgb_of_crop(data: bytes, image: Image.Image) -> Pixels | None:
    """As `_rgb`, in half the time, with OpenCV; for the usual formats of crops and small photos.

    Both libraries read JPEG with libjpeg-turbo and WebP with libwebp, so the pixels are the same. `None` for
    other formats, animations, and a JPEG without its end, which OpenCV would complete silently.
    """
    whole = image.format == "WEBP" or (image.format == "JPEG" and data.endswith(b"\xff\xd9"))
    still = getattr(image, "n_frames", 1) == 1
    if not whole or not still or image.mode != "RGB" or image.width * image.height > _PART:
        return None
    import cv2

    wanted = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    found = cv2.imdecode(np.frombuffer(data, np.uint8), wanted)
    return None if found is None else cv2.cvtColor(found, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _rgb(image: Image.Image) -> Pixels:
    """``image`` as uint8 RGB, not rotated. It is converted in parts, which takes little memory besides
    the image and the result."""
    width, height = image.size
    rows = max(1, _PART // width)
    if rows >= height:
        return _rgb_of_part(image)
    whole = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        part = image.crop((0, top, width, min(top + rows, height)))
        whole[top : top + rows] = _rgb_of_part(part)
    return whole


def _rgb_of_part(image: Image.Image) -> Pixels:
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("the range of floating-point pixels is unknown")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(deep: np.ndarray) -> Pixels:
    """16-bit grey [H, W] (of any integer type) to 8 bits; 65535 becomes 255."""
    if deep.size and (deep.min() < 0 or deep.max() > 65535):
        raise ValueError("more than 16 bits per pixel")
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
