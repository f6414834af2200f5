"""Limits of photos: what is measured, and which of them a crop lies beyond."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.card import PhotoLimit, PhotoLimits, Sample
from facekd.preprocess import beyond, measure_faults, measured_beyond
from facekd.preprocess.face_quality import light, noise, sharpness


@pytest.fixture
def crop() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 90, (112, 112, 3)).astype(np.uint8)


def limits(**known: float) -> PhotoLimits:
    return PhotoLimits(
        limits=tuple(PhotoLimit(reason=reason, limit=limit, refused=0) for reason, limit in known.items()),
        fmr=1e-2, threshold=0.5, photos=80, data="people", date="2026-01-01", detector="none", aligner="a",
        sample=Sample(people=20, photos=80, digest="0" * 64),
    )  # fmt: skip


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


def test_without_limits_nothing_lies_beyond(crop: np.ndarray) -> None:
    assert beyond(crop, None) == beyond(crop, limits()) == []
