"""The fuzzer's first inputs: valid files of every kind."""

from __future__ import annotations

import io
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from fuzz_material import CARD, CUT, small_gallery, small_model


def photos() -> Iterator[bytes]:
    from PIL import Image

    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    colours = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = Image.fromarray(colours)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(colours[..., 0].astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [image.rotate(90)], "duration": 50}
    for kind, picture, settings in (
        ("JPEG", image, {"exif": exif}), ("JPEG", image.convert("CMYK"), {}),
        ("JPEG", image.convert("L"), {"progressive": True}), ("PNG", image, {"exif": exif}),
        ("PNG", deep, {}),
        ("PNG", image.convert("P"), {"transparency": 0}), ("PNG", image, frames), ("GIF", image, frames),
        ("WEBP", image, {}), ("WEBP", image, frames), ("BMP", image, {}), ("PPM", image, {}),
        ("TIFF", image, {"exif": exif}), ("TIFF", deep, {}), ("TIFF", image, {"compression": "tiff_lzw"}),
        ("AVIF", image, {}), ("HEIF", image, {}),
    ):  # fmt: skip
        written = io.BytesIO()
        with suppress(KeyError, OSError):  # Pillow was built without this format
            picture.save(written, kind, **settings)
            yield written.getvalue()


def models() -> Iterator[bytes]:
    yield small_model().read_bytes()


def cards() -> Iterator[bytes]:
    from facekd.card import load_onnx
    from facekd.weights import shipped_model

    for model in filter(None, (small_model(), shipped_model())):
        for entry in load_onnx(model).metadata_props:
            if entry.key == CARD:
                yield entry.value.encode()


def zips() -> Iterator[bytes]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", method) as pack:
            for name in ("ann/1.jpg", "bob/../2.jpg", "/root/3.png", "\u00e9.webp", "notes.txt"):
                pack.writestr(name, b"pixels " * 9)
        yield written.getvalue()


def records() -> Iterator[bytes]:
    from facekd.preprocess import Image, write_records

    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "pack.rec"
        pictures = ((b"one", "Ann"), (b"\x0a\x23\xd7\xce" * 2, "Ann"), (b"nobody", None), (b"", "Bo"))
        write_records(pack, (Image(*picture) for picture in pictures))
        yield pack.read_bytes()
        yield pack.read_bytes() + CUT + pack.with_suffix(".idx").read_bytes()


def bins() -> Iterator[bytes]:
    images = [b"\xff\xd8 first", b"second", b"third \x00", b"fourth"]
    rows = [np.frombuffer(image, np.uint8) for image in images]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps((images, [True, False]), protocol)
        yield pickle.dumps((rows, np.array([True, False])), protocol)


def archives() -> Iterator[bytes]:
    from facekd.workflows import export_gallery

    with tempfile.TemporaryDirectory() as folder:
        gallery, archive = small_gallery(Path(folder)), Path(folder) / "archive.jsonl"
        export_gallery(gallery, archive)
        yield archive.read_bytes()


def galleries() -> Iterator[bytes]:
    from facekd.gallery import back_up

    with tempfile.TemporaryDirectory() as folder:
        back_up(small_gallery(Path(folder)), Path(folder) / "copy.db")
        yield (Path(folder) / "copy.db").read_bytes()


def lists() -> Iterator[bytes]:
    yield b'name,photo\nAnn,ann/1.jpg\n"Bo, Lee",bo.jpg\n'
    yield b"a,b,label\na.jpg,b.jpg,1\n,,\n"
    yield b'{"a": "a.jpg", "b": "b.jpg"}\n'
    yield b"score,label\n0.5,1\n-0.1,0\n,0\n"
