"""Photos that are none end with a reason and the right exit code; odd ones are read as the plain one is."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photo_bytes import FORMATS, face, held, saved, stating, stored, written
from PIL import Image
from small_photos import need_mtcnn, portrait
from tiny_model import write_tiny_model

#: what a file of each format begins with
BEGINNINGS = {
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\0", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF\0\x10\0\0WEBPVP8 ",
    "bmp": b"BM", "gif": b"GIF89a", "tif": b"II*\0\x08\0\0\0", "ppm": b"P6 ",
    "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
}  # fmt: skip

Verify = Callable[[bytes, str], tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx and plain.png, which the others are compared with."""
    need_mtcnn()
    folder = tmp_path_factory.mktemp("site")
    write_tiny_model(folder / "model.onnx")
    (folder / "plain.png").write_bytes(written("png"))
    return folder


@pytest.fixture
def verify(facekd: Callable, site: Path, tmp_path: Path) -> Verify:
    """Compare a file of these bytes and this name with the plain photo; exit code and document."""

    def run(content: bytes, name: str) -> tuple[int, dict[str, Any]]:
        (tmp_path / name).write_bytes(content)
        model = site / "model.onnx"
        ran = facekd(
            "verify", tmp_path / name, site / "plain.png", "--model", model, "--threshold", 0.9, "--json"
        )
        document = json.loads(ran.out)
        assert "Traceback" not in ran.err
        failure = document.get("failure")
        if failure is not None:
            assert failure["message"].splitlines()[0] in ran.err
            assert name in failure["message"]
        return ran.code, document

    return run


def refused(verify: Verify, content: bytes, name: str, *reasons: str) -> None:
    code, document = verify(content, name)
    assert code == 5
    assert document["failure"]["reason"] in reasons, document


@pytest.mark.parametrize("sixteenths", range(16))
@pytest.mark.parametrize("ending", FORMATS)
def test_a_photo_cut_short(verify: Verify, ending: str, sixteenths: int) -> None:
    whole = written(ending)
    refused(verify, whole[: len(whole) * sixteenths // 16], f"cut.{ending}", "unreadable")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ending", BEGINNINGS)
def test_random_bytes_behind_a_right_beginning(verify: Verify, ending: str, seed: int) -> None:
    content = BEGINNINGS[ending] + random.Random(seed).randbytes(3000)
    # what looks like a size may be one above the limit
    refused(verify, content, f"noise.{ending}", "unreadable", "too_large")


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(verify: Verify, seed: int) -> None:
    refused(verify, random.Random(seed).randbytes(3000), "noise.jpg", "unreadable")


@pytest.mark.parametrize(
    ("ending", "other"), zip(FORMATS, [*list(FORMATS)[1:], next(iter(FORMATS))], strict=True)
)
def test_a_wrong_ending_says_nothing(verify: Verify, ending: str, other: str) -> None:
    code, document = verify(written(ending), f"photo.{other}")
    assert code == 0
    assert document["score"] >= 0.99


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as pack:
        pack.writestr("a.jpg", written("jpg"))
    return file.getvalue()


#: files that are sent for photos
NO_PHOTOS = {
    "text": b"not an image", "html": b"<!doctype html><img src=x onerror=alert(1)>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n",
    "zip": _zip(), "gzip": gzip.compress(written("jpg")), "program": b"\x7fELF" + bytes(200),
    "video": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(200), "icon": b"\0\0\1\0\1\0" + bytes(100),
    "photoshop": b"8BPS\0\1" + bytes(100), "json": b'{"a": 1}', "zeros": bytes(1000),
    "float": saved(Image.fromarray(np.zeros((50, 50), np.float32)), "TIFF"),
    "one byte": b"\xff",
}  # fmt: skip


@pytest.mark.parametrize("what", NO_PHOTOS)
def test_what_is_no_photo(verify: Verify, what: str) -> None:
    refused(verify, NO_PHOTOS[what], "photo.jpg", "unreadable")


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("size", [(50_000, 50_000), (65_000, 65_000)])
def test_a_header_that_promises_billions_of_pixels(
    verify: Verify, ending: str, size: tuple[int, int]
) -> None:
    # the size of these is in the compressed pixels as well, and decoders compare the two
    reasons = ("unreadable", "too_large") if ending in ("webp", "avif", "heic") else ("too_large",)
    refused(verify, stating(ending, *size), f"large.{ending}", *reasons)


@pytest.mark.parametrize(
    ("size", "code", "reason"),
    [((1, 1), 3, "no_face"), ((8, 8), 3, "no_face"), ((1, 64), 3, "no_face"), ((1, 65), 5, "too_large"),
     ((3000, 40), 5, "too_large"), ((200, 200), 3, "no_face")],
)  # fmt: skip
def test_photos_too_small_or_long_or_empty_for_a_face(
    verify: Verify, size: tuple[int, int], code: int, reason: str
) -> None:
    found, document = verify(saved(Image.new("RGB", size, (90, 120, 150)), "PNG"), "flat.png")
    assert (found, document["failure"]["reason"]) == (code, reason)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "avif", "heic"])
def test_however_the_camera_was_held_the_crop_is_the_same(
    verify: Verify, ending: str, orientation: int
) -> None:
    code, document = verify(held(orientation, ending), f"held.{ending}")
    assert code == 0
    assert document["score"] >= (0.9999 if ending in ("png", "tif") else 0.99)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_orientation_that_there_is_none_of_is_upright(verify: Verify, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    code, document = verify(saved(stored(1), "PNG", exif=exif), "held.png")
    assert (code, document["score"] >= 0.9999) == (0, True)


def _deep(ending: str) -> bytes:
    """The portrait with 16 bits a colour."""
    bgr = np.ascontiguousarray(portrait()[..., ::-1].astype(np.uint16) * 257)
    return bytes(cv2.imencode(ending, bgr)[1])


def _deep_grey() -> bytes:
    return bytes(cv2.imencode(".png", portrait()[..., 1].astype(np.uint16) * 257)[1])


def _pages() -> dict[str, object]:
    return {"save_all": True, "append_images": [face().rotate(90), Image.new("RGB", face().size)]}


def _with_alpha(mode: str) -> Image.Image:
    image = face().convert(mode)
    image.putalpha(255)
    return image


def _jpeg_with(kind: bytes, content: bytes) -> bytes:
    """The JPEG with a segment of this kind behind its beginning."""
    whole = written("jpg")
    return whole[:2] + b"\xff" + kind + struct.pack(">H", len(content) + 2) + content + whole[2:]


#: odd files of the same portrait, and the least cosine to the plain one: less where colours are lost
ODD: dict[str, tuple[Callable[[], bytes], float]] = {
    "moving.gif": (lambda: saved(face(), "GIF", **_pages(), duration=50), 0.99),
    "moving.webp": (lambda: saved(face(), "WEBP", **_pages(), duration=50, quality=95), 0.99),
    "moving.png": (lambda: saved(face(), "PNG", **_pages(), duration=50), 0.9999),
    "pages.tif": (lambda: saved(face(), "TIFF", **_pages()), 0.9999),
    "two-views.jpg": (lambda: saved(face(), "MPO", **_pages(), quality=95), 0.99),
    "cmyk.jpg": (lambda: saved(face().convert("CMYK"), "JPEG", quality=97), 0.99),
    "cmyk.tif": (lambda: saved(face().convert("CMYK"), "TIFF"), 0.99),
    "lab.tif": (lambda: saved(face().convert("YCbCr"), "TIFF"), 0.99),
    "deep.png": (lambda: _deep(".png"), 0.9999),
    "deep-grey.png": (_deep_grey, 0.8),
    "grey.png": (lambda: saved(face().convert("L"), "PNG"), 0.8),
    "grey.jpg": (lambda: saved(face().convert("L"), "JPEG", quality=95), 0.8),
    "alpha.png": (lambda: saved(_with_alpha("RGB"), "PNG"), 0.9999),
    "grey-alpha.png": (lambda: saved(_with_alpha("L"), "PNG"), 0.8),
    "palette.png": (lambda: saved(face().quantize(256), "PNG"), 0.97),
    "progressive.jpg": (lambda: saved(face(), "JPEG", quality=95, progressive=True), 0.99),
    "lossless.webp": (lambda: saved(face(), "WEBP", lossless=True), 0.9999),
    "lzw.tif": (lambda: saved(face(), "TIFF", compression="tiff_lzw"), 0.9999),
    "jpeg-in.tif": (lambda: saved(face(), "TIFF", compression="jpeg", quality=95), 0.97),
    "followed.jpg": (lambda: written("jpg") + b"<?php system($_GET[0]); ?>" + bytes(500), 0.99),
    "followed.png": (lambda: written("png") + _zip(), 0.9999),
    "broken-exif.jpg": (lambda: _jpeg_with(b"\xe1", b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\1" * 40), 0.99),
    "endless-exif.jpg": (lambda: _jpeg_with(b"\xe1", b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 60_000), 0.99),
    "broken-profile.jpg": (lambda: saved(face(), "JPEG", quality=95, icc_profile=b"\xff" * 3000), 0.99),
    "commented.jpg": (lambda: _jpeg_with(b"\xfe", b"\x1b]0;title\x07 ' OR 1=1 --" * 99), 0.99),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_of_the_same_portrait(verify: Verify, name: str) -> None:
    make, least = ODD[name]
    _, document = verify(make(), name)
    assert document["failure"] is None
    assert document["score"] >= least
