"""Every format a photo comes in, and everything that is none."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image
from pillow_heif import register_heif_opener

from facekd.errors import InputOutput, TooLarge, Unreadable
from facekd.preprocess import decode

register_heif_opener()  # to write them

SMALL = np.ascontiguousarray(skimage.data.astronaut()[40:200:2, 160:300:2])


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("PPM", {}), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_come_back_as_they_were(kind: str, settings: dict[str, object]) -> None:
    data = saved(Image.fromarray(SMALL), kind, **settings)
    photo = decode(data, "photo")
    assert np.array_equal(photo.pixels, SMALL)
    assert photo.pixels.flags["C_CONTIGUOUS"]
    assert (photo.path, photo.sha256) == ("photo", hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(("kind", "quality"), [("JPEG", 95), ("WEBP", 95), ("AVIF", 90), ("HEIF", 95)])
def test_lossy_formats_come_close(kind: str, quality: int) -> None:
    assert mean_difference(decode(saved(Image.fromarray(SMALL), kind, quality=quality)).pixels, SMALL) < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "AVIF", "HEIF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    # how a camera held that way stores the scene (EXIF 2.3, tag 0x0112)
    stored = {
        1: SMALL,
        2: SMALL[:, ::-1],
        3: SMALL[::-1, ::-1],
        4: SMALL[::-1],
        5: SMALL.transpose(1, 0, 2),
        6: np.rot90(SMALL, 1),
        7: SMALL[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(SMALL, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    lossy = kind not in {"PNG", "TIFF"}
    settings = {"quality": 97, "subsampling": "4:4:4"} if lossy else {}
    # in a HEIC file a transformation of the image says it, which is written for EXIF that comes as bytes
    said = exif.tobytes() if kind == "HEIF" else exif
    found = decode(saved(image, kind, exif=said, **settings)).pixels
    assert mean_difference(found, SMALL) <= (3 if lossy else 0)


def test_broken_exif_says_nothing_about_the_pixels() -> None:
    data = saved(Image.fromarray(SMALL), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\x01" * 40)
    assert decode(data).pixels.shape == SMALL.shape


def test_grey_and_bilevel_become_three_equal_channels() -> None:
    grey = Image.fromarray(SMALL).convert("L")
    assert np.array_equal(decode(saved(grey, "PNG")).pixels, np.repeat(np.asarray(grey)[..., None], 3, 2))
    assert set(np.unique(decode(saved(grey.convert("1"), "PNG")).pixels)) == {0, 255}


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_keeps_its_colours(kind: str) -> None:
    cmyk = Image.fromarray(SMALL).convert("CMYK")
    settings = {"quality": 97} if kind == "JPEG" else {}
    assert mean_difference(decode(saved(cmyk, kind, **settings)).pixels, SMALL) < 6


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_are_scaled_not_clipped(suffix: str) -> None:
    deep = SMALL.astype(np.uint16) * 257
    grey = np.ascontiguousarray(deep[..., 1])
    colour_file = cv2.imencode(suffix, np.ascontiguousarray(deep[..., ::-1]))[1].tobytes()
    grey_file = cv2.imencode(suffix, grey)[1].tobytes()
    assert np.array_equal(decode(grey_file).pixels[..., 0], SMALL[..., 1])
    if suffix == ".png":
        assert np.abs(decode(colour_file).pixels.astype(int) - SMALL).max() <= 1


def test_transparency_is_laid_on_white() -> None:
    half = np.dstack([SMALL, np.full(SMALL.shape[:2], 255, np.uint8)])
    half[:10, :, 3] = 0
    half[10:20, :, 3] = 128
    found = decode(saved(Image.fromarray(half), "PNG")).pixels
    assert (found[:10] == 255).all()
    assert np.array_equal(found[20:], SMALL[20:])
    blended = SMALL[10:20] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(found[10:20] - blended).max() <= 1


def test_palette_with_a_transparent_colour() -> None:
    flat = np.zeros((8, 8), np.uint8)
    flat[4:] = 1
    image = Image.fromarray(flat, "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    found = decode(saved(image, "PNG", transparency=0)).pixels
    assert (found[:4] == 255).all()
    assert (found[4:] == (40, 50, 60)).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    red, blue = Image.new("RGB", (20, 10), (250, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 250))
    data = saved(red, kind, save_all=True, append_images=[blue, red], duration=50)
    found = decode(data).pixels
    assert found.shape == (10, 20, 3)
    assert found[..., 0].min() > 200
    assert found[..., 2].max() < 50


def test_without_its_decoder_a_photo_of_a_phone_is_named_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(SMALL), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Unreadable, match="a HEIC photo") as refused:
        decode(data)
    assert refused.value.fix == "Install it with: pip install 'facekd[heic]'"
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    with pytest.raises(Unreadable, match="AVIF"):
        decode(saved(Image.fromarray(SMALL), "AVIF"))


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_photo_of_a_phone_cut_short_or_damaged_is_unreadable(kind: str) -> None:
    data = saved(Image.fromarray(SMALL), kind)
    for cut in range(16, len(data) - 1, len(data) // 16):
        with pytest.raises(Unreadable):
            decode(data[:cut])
    film = b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100)
    with pytest.raises(Unreadable, match="video"):
        decode(film)


def test_a_path_is_read_and_named(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(saved(Image.fromarray(SMALL), "PNG"))
    assert decode(file).path == str(file)
    with pytest.raises(InputOutput, match="No such file"):
        decode(tmp_path / "absent.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.6])
def test_a_file_cut_short_is_unreadable(kind: str, part: float) -> None:
    data = saved(Image.fromarray(SMALL), kind)
    with pytest.raises(Unreadable, match="holiday"):
        decode(data[: int(len(data) * part)], "holiday")


@pytest.mark.parametrize(
    "data", [b"hello, I am a text", b"\x89PNG\r\n\x1a\n" + b"\0" * 30, b"%!PS-Adobe-3.0 EPSF-3.0"]
)
def test_what_is_no_image_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(data)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds no pixels: decoding it can only fail."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IHDR" + header
    ends = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + ends


@pytest.mark.parametrize("size", [(10_001, 10_000), (14_000, 14_000), (60_000, 60_000), (2**31 - 1, 1)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge):
        decode(png_header(*size))


@pytest.mark.parametrize("size", [(10_000, 10_000), (1_080, 60_000), (64, 1)])
def test_a_size_within_the_limits_is_not_refused(size: tuple[int, int]) -> None:
    with pytest.raises(Unreadable):
        decode(png_header(*size))


@pytest.mark.parametrize("size", [(90_000, 1_000), (1, 90_000_000), (65, 1)])
def test_a_photo_too_long_to_show_a_face_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match="64 times as long as wide"):
        decode(png_header(*size))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_converted_in_parts_is_the_whole_one(mode: str, orientation: int) -> None:
    """2,500 x 3,000 pixels take two parts."""
    random = np.random.default_rng(0)
    colours = np.kron(random.integers(0, 256, (60, 50, 3), np.uint8), np.ones((50, 50, 1), np.uint8))
    if mode == "I;16":
        image = Image.fromarray(colours[..., 0].astype(np.uint16) * 200)
        expected = np.rint(np.asarray(image) / 257).astype(np.uint8)[..., None].repeat(3, 2)
    else:
        image = Image.fromarray(colours).convert(mode)
        if "A" in mode:
            image.putalpha(Image.fromarray(colours[..., 1]))
            seen = np.asarray(image.convert("RGBA")).astype(float)
            alpha = seen[..., 3:] / 255
            expected = seen[..., :3] * alpha + 255 * (1 - alpha)
        else:
            expected = np.asarray(image.convert("RGB"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(saved(image, "TIFF" if mode == "CMYK" else "PNG", exif=exif)).pixels
    if orientation == 6:
        expected = np.rot90(expected, -1)
    assert np.abs(found - expected.astype(float)).max() <= (1 if "A" in mode else 0)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize(
    "settings",
    [
        {"quality": 95, "subsampling": 0}, {"quality": 30}, {"quality": 80, "progressive": True},
        {"quality": 75, "subsampling": 2, "optimize": True}, {"quality": 60, "lossless": True},
    ],
)  # fmt: skip
def test_the_pixels_of_a_crop_are_those_of_pillow(kind: str, settings: dict[str, object]) -> None:
    for pixels in (SMALL, SMALL[:37, :51], SMALL[..., :1].repeat(3, 2)):
        for mode in ("RGB", "L"):
            data = saved(Image.fromarray(np.ascontiguousarray(pixels)).convert(mode), kind, **settings)
            expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            assert np.array_equal(decode(data).pixels, expected)


def test_training_and_evaluation_see_the_same_pixels(tmp_path: Path) -> None:
    """A transparent PNG is the one that told two decoders apart."""
    from facekd.training.data import open_crops

    clear = np.dstack([np.full((112, 112, 3), 10, np.uint8), np.full((112, 112), 128, np.uint8)])
    crop = np.ascontiguousarray(skimage.data.astronaut()[40:152, 160:272])
    grey = crop[..., 1].astype(np.uint16) * 257
    (tmp_path / "ann").mkdir()
    Image.fromarray(clear).save(tmp_path / "ann" / "1.png")
    Image.fromarray(crop).save(tmp_path / "ann" / "2.jpg", quality=70)
    Image.fromarray(crop).save(tmp_path / "ann" / "3.webp", quality=70)
    Image.fromarray(crop).convert("P").save(tmp_path / "ann" / "4.gif")
    cv2.imwrite(str(tmp_path / "ann" / "5.png"), grey)
    Image.fromarray(crop).convert("CMYK").save(tmp_path / "ann" / "6.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(crop).save(tmp_path / "ann" / "7.jpg", exif=exif)
    crops = open_crops([tmp_path])
    assert len(crops) == 7
    for index, name in enumerate(crops.names):
        assert np.array_equal(crops.read(index), decode(tmp_path / name).pixels), name


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc")
@pytest.mark.parametrize(
    ("size", "kind"),
    [
        ((9_900, 10_100), "JPEG"),
        ((1_080, 60_000), "PNG"),
        ((7_000, 7_100), "WEBP"),
        ((7_000, 7_100), "AVIF"),
        ((7_000, 7_100), "HEIF"),
    ],
)
def test_the_largest_photos_take_less_than_a_gibibyte(
    tmp_path: Path, size: tuple[int, int], kind: str
) -> None:
    Image.new("RGB", size, (90, 120, 150)).save(tmp_path / "large", kind)
    script = (
        "import sys; from stub_detector import Stub; from facekd.preprocess import *\n"
        "print(len(find_faces(decode(sys.argv[1]), Stub())))\n"
        "print(open('/proc/self/status').read())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "large")],
        cwd=Path(__file__).parent, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # in KiB, of this program alone; what getrusage says begins with that of the parent
    assert int(ran.stdout.partition("VmHWM:")[2].split()[0]) < 1 << 20


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sources.base", "decoding"):
        room = importlib.import_module(f"facekd.preprocess.{module}")
        monkeypatch.setattr(room, "MAX_BYTES", 1000)
    file = tmp_path / "a.bmp"
    file.write_bytes(b"BM" + b"\0" * 2000)
    with pytest.raises(TooLarge, match="2,002 bytes"):
        decode(file)
    with pytest.raises(TooLarge, match="2,002 bytes"):
        decode(file.read_bytes())


@pytest.mark.parametrize(("brand", "word"), [(b"heic", "HEIC"), (b"avif", "AVIF")])
def test_a_damaged_photo_of_a_phone_is_named_as_one(brand: bytes, word: str) -> None:
    head = b"\x00\x00\x00\x18ftyp" + brand + b"\x00\x00\x00\x00mif1" + brand
    with pytest.raises(Unreadable, match=f"a damaged {word} photo"):
        decode(head + bytes(200))
