"""A photo as path, bytes or pixels, and what is none."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facekd.errors import InputOutput, TooLarge, Unreadable, UsageError
from facekd.preprocess import as_photo, digest_of
from facekd.preprocess.decoding import MAX_ASPECT, MAX_PIXELS


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_three_ways_give_the_same_pixels(pixels: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(pixels))
    for photo in (file, str(file), png(pixels), pixels):
        np.testing.assert_array_equal(as_photo(photo).pixels, pixels)
    assert as_photo(file).path == str(file)
    assert as_photo(pixels, "camera 1").path == "camera 1"
    digest = hashlib.sha256(png(pixels)).hexdigest()
    assert as_photo(file).sha256 == as_photo(png(pixels)).sha256 == digest_of(png(pixels)) == digest


def test_the_colour_order_is_red_green_blue(tmp_path: Path) -> None:
    """A red picture as Pillow writes it, and as OpenCV reads it."""
    import cv2

    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    read = cv2.imread(str(tmp_path / "red.png"))
    assert read is not None
    seen = as_photo(tmp_path / "red.png").pixels
    np.testing.assert_array_equal(seen, as_photo(read[:, :, ::-1]).pixels)
    assert seen[0, 0].tolist() == [255, 0, 0]


def test_pixels_have_a_digest_of_their_own(pixels: np.ndarray) -> None:
    """Equal pixels have one, in whatever order memory holds them; other shapes and values another."""
    assert digest_of(np.asfortranarray(pixels)) == digest_of(pixels.copy()) == as_photo(pixels).sha256
    changed = pixels.copy()
    changed[0, 0, 0] ^= 1
    digests = {digest_of(p) for p in (pixels, changed, pixels.reshape(30, 20, 3))} | {digest_of(png(pixels))}
    assert len(digests) == 4
    assert as_photo(pixels[:, ::-1]).pixels.flags.c_contiguous


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p.astype(np.float32) / 255, "not float32"),
        (lambda p: p.astype(np.int64), "not int64"),
        (lambda p: p[..., 0], r"\[20, 30\]"),
        (lambda p: p[None], r"\[1, 20, 30, 3\]"),
        (lambda p: np.concatenate([p, p[..., :1]], axis=2), r"\[20, 30, 4\]"),
        (lambda p: p.transpose(2, 0, 1), r"\[3, 20, 30\]"),
        (lambda p: p[:0], r"\[0, 30, 3\]"),
    ],
)
def test_other_arrays_are_refused(pixels: np.ndarray, change, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        as_photo(change(pixels))


def test_floats_are_told_the_way_out(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError) as caught:
        as_photo(pixels / 255)
    assert "astype(np.uint8)" in str(caught.value.fix)
    restored = (255 * (pixels / 255)).round().astype(np.uint8)
    np.testing.assert_array_equal(as_photo(restored).pixels, pixels)


@pytest.mark.parametrize("photo", [None, 3, ["a.jpg"], bytearray(b"x"), Image.new("RGB", (8, 8))])
def test_what_is_no_photo_is_a_mistake_in_the_call(photo: object) -> None:
    with pytest.raises(TypeError, match=f"not {type(photo).__name__}"):
        as_photo(photo)  # type: ignore[arg-type]


def test_files_fail_as_in_the_commands(tmp_path: Path) -> None:
    with pytest.raises(InputOutput, match="absent"):
        as_photo(tmp_path / "absent.jpg")
    with pytest.raises(Unreadable, match="camera 1"):
        as_photo(b"not an image", "camera 1")


def test_arrays_have_the_limits_of_files() -> None:
    long = np.broadcast_to(np.uint8(0), (MAX_ASPECT + 1, 1, 3))
    with pytest.raises(TooLarge, match="as long as wide"):
        as_photo(long)
    large = np.broadcast_to(np.uint8(0), (10_001, MAX_PIXELS // 10_000, 3))
    with pytest.raises(TooLarge, match="the limit is"):
        as_photo(large)
