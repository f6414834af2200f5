"""The faults of a crop: each measure computed in another way, and the limits that it exceeds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter

from facekd.card.contract import PhotoLimit, PhotoLimits, Sample
from facekd.errors import Exit, LowQuality
from facekd.preprocess import FAULTS, beyond, measure_faults, measured_beyond
from facekd.preprocess.face_quality import light, noise, sharpness


@pytest.fixture
def crop() -> np.ndarray:
    """A grey slope with patches, uint8 [112, 112, 3]."""
    random = np.random.default_rng(0)
    patches = np.kron(random.integers(-60, 60, (7, 7)), np.ones((16, 16)))
    grey = np.linspace(70, 180, 112)[None] + patches
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def limits(**known: float) -> PhotoLimits:
    return PhotoLimits(
        limits=tuple(PhotoLimit(reason=reason, limit=limit, refused=0) for reason, limit in known.items()),
        fmr=1e-3, threshold=0.3, photos=500, data="people", detector="mtcnn", aligner="a", date="2026-01-01",
        sample=Sample(people=100, photos=500, digest="0" * 64),
    )  # fmt: skip


def test_light_is_the_level_that_a_twentieth_exceeds(crop: np.ndarray) -> None:
    crop[..., 1] //= 2
    middle = np.sort(crop[18:-18, 18:-18, 0], axis=None)
    assert light(crop) == pytest.approx(middle[round(0.95 * (middle.size - 1))], abs=1)
    assert light(crop // 4) == pytest.approx(light(crop) / 4, abs=1)
    # what lies at the border does not count
    framed = np.full_like(crop, 255)
    framed[18:-18, 18:-18] = crop[18:-18, 18:-18]
    assert light(framed) == light(crop)


def test_noise_is_found_again_and_is_hardly_edges() -> None:
    slope = np.repeat(np.add.outer(np.linspace(60, 120, 112), np.linspace(0, 60, 112))[..., None], 3, axis=2)
    for sigma in (5.0, 10.0, 20.0):
        grain = np.random.default_rng(1).normal(0, sigma, (112, 112, 1))
        made = np.clip(np.rint(slope + grain), 0, 255).astype(np.uint8)
        assert noise(made) == pytest.approx(sigma, rel=0.05)
    # rounding is all there is to it
    assert noise(np.rint(slope).astype(np.uint8)) < 1


def test_noise_against_a_convolution_of_its_own(crop: np.ndarray) -> None:
    grey = crop[18:-18, 18:-18, 0].astype(float)
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    expected = np.abs(convolve(grey, mask, mode="mirror")).mean() * np.sqrt(np.pi / 2) / 6
    assert noise(crop) == pytest.approx(expected, rel=1e-5)


def test_sharpness_against_filters_of_its_own(crop: np.ndarray) -> None:
    grey = crop[18:-18, 18:-18, 0].astype(float)
    one, two, four = (gaussian_filter(grey, sigma, mode="mirror", truncate=4) for sigma in (1, 2, 4))
    assert sharpness(crop) == pytest.approx((one - two).std() / (two - four).std(), rel=0.01)
    # neither light nor contrast has a part in it
    assert sharpness(crop // 2) == pytest.approx(sharpness(crop), rel=0.02)
    assert sharpness(np.full_like(crop, 90)) == 0
    softer = [cv2.GaussianBlur(crop, (0, 0), sigma) for sigma in (1, 2, 3, 4)]
    values = [sharpness(made) for made in (crop, *softer)]
    assert values == sorted(values, reverse=True)
    # a larger crop of the same face is as sharp
    assert sharpness(cv2.resize(crop, (160, 160))) == pytest.approx(values[0], rel=0.05)


def test_only_what_lies_beyond_a_limit_is_refused(crop: np.ndarray) -> None:
    measured = {fault.reason: fault.measure(crop) for fault in FAULTS}
    assert beyond(crop, None) == []
    assert beyond(crop, limits()) == []
    assert beyond(crop, limits(**measured)) == []
    worse = {reason: value * (0.9 if reason == "too_noisy" else 1.1) for reason, value in measured.items()}
    found = beyond(crop, limits(**worse))
    assert [error.reason for error in found] == ["too_dark", "too_blurred", "too_noisy"]
    for error, fault in zip(found, FAULTS, strict=True):
        assert isinstance(error, LowQuality)
        assert error.exit_code == Exit.CANNOT_SAY
        assert error.reason.removeprefix("too_") in error.cause
        assert error.fix == fault.way_out
    assert (
        f"reach {measured['too_dark']:.0f} of 255, at least {worse['too_dark']:.0f} are needed"
        in found[0].cause
    )
    (only,) = beyond(crop, limits(too_dark=worse["too_dark"], too_noisy=worse["too_noisy"] * 2))
    assert only.reason == "too_dark"


def test_each_limit_is_one_of_its_own_measure(crop: np.ndarray) -> None:
    measured = {"too_dark": light(crop), "too_blurred": sharpness(crop), "too_noisy": noise(crop)}
    assert measure_faults(crop, measured) == measured
    assert measure_faults(crop, {"too_noisy"}) == {"too_noisy": measured["too_noisy"]}
    # light and sharpness must not fall below their limits, noise must not rise above its own
    for reason, sign in (("too_dark", 1), ("too_blurred", 1), ("too_noisy", -1)):
        value = measured[reason]
        for step, refused in ((sign, [reason]), (-sign, [])):
            told = limits(**{reason: value * (1 + 0.01 * step)})
            assert [error.reason for error in beyond(crop, told)] == refused
            assert [error.reason for error in measured_beyond(measured, told)] == refused
