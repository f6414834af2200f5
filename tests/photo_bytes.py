"""Photo files in every format, whole and spoilt, as bytes. ``from photo_bytes import written``."""

from __future__ import annotations

import io
import struct
import zlib
from functools import lru_cache

import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener
from small_photos import portrait

register_heif_opener()

#: how Pillow writes each format; by the ending of its files
FORMATS: dict[str, tuple[str, dict[str, object]]] = {
    "jpg": ("JPEG", {"quality": 95}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": 95}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
    "tif": ("TIFF", {}),
    "ppm": ("PPM", {}),
    "avif": ("AVIF", {"quality": 90}),
    "heic": ("HEIF", {"quality": 95}),
}
#: EXIF's tag of how the camera was held
ORIENTATION = 0x0112


@lru_cache
def face() -> Image.Image:
    return Image.fromarray(portrait())


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@lru_cache
def written(ending: str) -> bytes:
    """The portrait in the format whose files end so."""
    kind, settings = FORMATS[ending]
    return saved(face(), kind, **settings)


def stored(orientation: int) -> Image.Image:
    """The portrait as a camera stores it that was held in this way (EXIF 2.3)."""
    pixels = portrait()
    turned = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.transpose(1, 0, 2), 6: np.rot90(pixels, 1), 7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[orientation]  # fmt: skip
    return Image.fromarray(np.ascontiguousarray(turned))


def held(orientation: int, ending: str) -> bytes:
    """A file of `stored` that says how to set it upright."""
    kind, settings = FORMATS[ending]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    # in a HEIC file a transformation of the image says it, which is written for EXIF that comes as bytes
    return saved(stored(orientation), kind, **settings, exif=exif.tobytes() if kind == "HEIF" else exif)


def stating(ending: str, width: int, height: int) -> bytes:
    """A file of a few kilobytes whose header states a size that it does not have."""
    data = bytearray(written(ending))
    if ending == "jpg":
        frame = data.index(b"\xff\xc0")
        struct.pack_into(">HH", data, frame + 5, height, width)
    elif ending == "png":
        struct.pack_into(">II", data, 16, width, height)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif ending == "webp":
        canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
        data = bytearray(
            b"RIFF" + struct.pack("<I", len(data) - 8 + len(chunk)) + b"WEBP" + chunk + data[12:]
        )
    elif ending == "bmp":
        struct.pack_into("<ii", data, 18, width, height)
    elif ending == "gif":
        struct.pack_into("<HH", data, 6, width, height)
    elif ending == "tif":
        for tag, side in ((256, width), (257, height)):
            place = data.index(struct.pack("<HH", tag, 4)) if struct.pack("<HH", tag, 4) in data else None
            place = data.index(struct.pack("<HH", tag, 3)) if place is None else place
            struct.pack_into("<HHII", data, place, tag, 4, 1, side)
    elif ending == "ppm":
        data = bytearray(b"P6 %d %d 255\n" % (width, height)) + data[-100:]
    else:
        place = 0
        while (place := data.find(b"ispe", place + 4)) > 0:
            struct.pack_into(">II", data, place + 8, width, height)
    return bytes(data)
