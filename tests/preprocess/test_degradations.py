"""Each degradation against a computation of its own on small or plain crops."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import correlate1d

from facekd.card.contract import ARCFACE_TEMPLATE
from facekd.preprocess.degradations import (
    CLEAN,
    DEGRADATIONS,
    blurred,
    darkened,
    masked,
    noisy,
    recompressed,
    reduced,
    turned,
    with_sunglasses,
)


@pytest.fixture
def crop() -> np.ndarray:
    """Patches of 13 pixels, which fall on no grid of a smaller face, uint8 [112, 112, 3]."""
    small = np.random.default_rng(0).integers(0, 256, (9, 9, 3))
    return np.ascontiguousarray(np.kron(small, np.ones((13, 13, 1)))[:112, :112].astype(np.uint8))


def test_the_list_is_in_order_and_has_no_name_twice() -> None:
    names = [degradation.name for degradation in (CLEAN, *DEGRADATIONS)]
    assert len(set(names)) == len(names)
    assert names[:6] == [
        f"face size, {side} pixels" for side in (112, 56, 40, 28, 20, 14)
    ]  # fmt: skip
    assert {"blur", "JPEG", "noise", "darkness", "occlusion", "rotation"} < {d.kind for d in DEGRADATIONS}


@pytest.mark.parametrize("degradation", [CLEAN, *DEGRADATIONS], ids=lambda d: d.name)
def test_pure_and_each_its_own(crop: np.ndarray, degradation) -> None:
    before = crop.copy()
    made = degradation.apply(crop, 5)
    np.testing.assert_array_equal(crop, before)
    assert (made.shape, made.dtype) == (crop.shape, np.uint8)
    np.testing.assert_array_equal(made, degradation.apply(before, 5))
    assert np.array_equal(made, crop) == (degradation is CLEAN)
    same = [d.name for d in (CLEAN, *DEGRADATIONS) if np.array_equal(d.apply(crop, 5), made)]
    assert same == [degradation.name]


def test_within_a_kind_each_level_is_worse_than_the_one_before(crop: np.ndarray) -> None:
    for kind in ("face size", "blur", "JPEG", "noise", "darkness", "rotation"):
        errors = [
            np.abs(d.apply(crop, 2).astype(float) - crop).mean() for d in DEGRADATIONS if d.kind == kind
        ]
        assert errors == sorted(errors)


@pytest.mark.parametrize("side", [56, 28, 14])
def test_reduced_takes_means_of_blocks(crop: np.ndarray, side: int) -> None:
    crop = np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    factor = 112 // side
    blocks = crop.reshape(side, factor, side, factor, 3).mean(axis=(1, 3))
    expected = np.asarray(
        np.stack(
            [
                Image.fromarray(blocks[..., c].astype(np.float32)).resize(
                    (112, 112), Image.Resampling.BILINEAR
                )
                for c in range(3)
            ],
            axis=-1,
        )
    )
    assert np.abs(reduced(crop, side) - expected).max() < 1.6


def test_reduced_leaves_what_has_no_detail() -> None:
    flat = np.full((112, 112, 3), (10, 100, 200), np.uint8)
    np.testing.assert_array_equal(reduced(flat, 20), flat)


def test_blurred_is_a_gaussian(crop: np.ndarray) -> None:
    sigma = 2
    places = np.arange(-8, 9)
    kernel = np.exp(-(places**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    expected = crop.astype(float)
    for axis in (0, 1):
        expected = correlate1d(expected, kernel, axis, mode="mirror")
    # 8-bit kernels are rounded to 1/256
    assert np.abs(blurred(crop, sigma) - expected)[10:-10, 10:-10].max() < 3


def test_recompressed_as_another_codec_does(crop: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "JPEG", quality=10)
    other = np.asarray(Image.open(file).convert("RGB")).astype(float)
    difference = np.abs(recompressed(crop, 10) - other)
    # colours in the right order: with red and blue exchanged the difference is tens of levels
    assert difference.mean() < 1
    assert np.abs(recompressed(crop, 10)[..., ::-1] - other).mean() > 20


def test_noise_has_its_spread_and_its_seed() -> None:
    grey = np.full((112, 112, 3), 128, np.uint8)
    noise = noisy(grey, 10, 3) - 128.0
    # the standard error of a spread over 37,632 values is 10 / sqrt(2 * 37632) = 0.036
    assert noise.std() == pytest.approx(10, abs=0.15)
    assert abs(noise.mean()) < 0.2
    assert not np.array_equal(noisy(grey, 10, 3), noisy(grey, 10, 4))
    assert noisy(np.zeros_like(grey), 50, 3).min() == 0


def test_darkness_divides() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    expected = [[[round(int(v) / 4)] * 3 for v in row[:, 0]] for row in ramp]
    np.testing.assert_array_equal(darkened(ramp, 0.25), expected)


def test_the_mask_covers_the_lower_third(crop: np.ndarray) -> None:
    made = masked(crop)
    np.testing.assert_array_equal(made[:74], crop[:74])
    assert (made[74:] == made[74, 0]).all()
    mouths = np.array(ARCFACE_TEMPLATE)[3:]
    assert (mouths[:, 1] > 74).all()
    assert ARCFACE_TEMPLATE[2][1] < 74


def test_sunglasses_cover_the_eyes_and_little_else(crop: np.ndarray) -> None:
    made = with_sunglasses(crop)
    changed = (made != crop).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    assert rows.min() >= 38
    assert rows.max() <= 65
    assert 0.05 < changed.mean() < 0.15
    for x, y in ARCFACE_TEMPLATE[:2]:
        assert (made[round(y) - 5 : round(y) + 6, round(x) - 5 : round(x) + 6] == 15).all()


def test_a_right_angle_is_a_turn_of_the_array(crop: np.ndarray) -> None:
    crop = np.random.default_rng(2).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    assert np.abs(turned(crop, 90, 0).astype(int) - np.rot90(crop, -1)).max() <= 1
    assert np.abs(turned(crop, 90, 1).astype(int) - np.rot90(crop)).max() <= 1
