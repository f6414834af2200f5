"""Views are pure functions of crop, key and settings."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from skimage import data

from facekd.card.contract import canonical_json
from facekd.training import Augmentation

FACE = np.ascontiguousarray(data.astronaut()[20:132, 170:282])
EVERYTHING = Augmentation(
    shift=3,
    rotate=8,
    scale=0.1,
    colour=0.3,
    p_grey=0.3,
    p_low_resolution=0.5,
    p_blur=0.5,
    p_jpeg=0.5,
    p_erase=0.5,
    p_dark=0.5,
    p_noise=0.5,
)


def test_same_key_same_view_other_key_other_view() -> None:
    before = FACE.copy()
    views = [EVERYTHING.view(FACE, (7, 3, k)) for k in range(6)]
    assert np.array_equal(FACE, before)
    for k, view in enumerate(views):
        assert np.array_equal(view, EVERYTHING.view(FACE, (7, 3, k)))
        assert view.shape == FACE.shape
        assert view.dtype == np.uint8
    assert len({view.tobytes() for view in views}) == 6
    assert not np.array_equal(EVERYTHING.view(FACE, (8, 3, 0)), views[0])


def test_no_augmentation_changes_nothing() -> None:
    assert np.array_equal(Augmentation().view(FACE, (0, 0, 0)), FACE)


def test_each_setting_does_what_its_name_says() -> None:
    grey = Augmentation(p_grey=1).view(FACE, (0, 0, 0)).astype(int)
    assert np.ptp(grey, axis=2).max() <= 1
    low = Augmentation(p_low_resolution=1, low_resolution=8).view(FACE, (0, 0, 1))
    assert _detail(low) < 0.7 * _detail(FACE)
    assert _detail(Augmentation(p_blur=1).view(FACE, (0, 0, 0))) < 0.9 * _detail(FACE)
    erased = Augmentation(p_erase=1).view(FACE, (0, 0, 0))
    changed = (erased != FACE).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    share = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / changed.size
    assert 0.15**2 - 0.01 <= share <= 0.4**2 + 0.01
    assert not np.array_equal(Augmentation(p_jpeg=1).view(FACE, (0, 0, 0)), FACE)


def test_darkness_and_noise_are_of_the_stated_size() -> None:
    even = np.full((112, 112, 3), 160, np.uint8)
    levels = [float(Augmentation(p_dark=1, dark=0.25).view(even, (0, 0, k)).mean()) for k in range(300)]
    assert 39.5 <= min(levels) < 45
    assert 150 < max(levels) <= 160
    # even on a log scale: half of them below the geometric middle, within five deviations
    assert abs(np.mean(np.array(levels) < 80) - 0.5) < 5 * (0.25 / 300) ** 0.5
    spreads = [float(Augmentation(p_noise=1, noise=20).view(even, (0, 0, k)).std()) for k in range(100)]
    assert max(spreads) < 20.3
    assert abs(np.mean(spreads) - 10) < 5 * 20 / 12**0.5 / 10
    noisy = Augmentation(p_noise=1, noise=20).view(even, (0, 0, 1)).astype(float) - 160
    assert abs(noisy.mean()) < 5 * noisy.std() / noisy.size**0.5


def test_a_setting_that_does_nothing_leaves_views_and_targets_alone() -> None:
    old = Augmentation(shift=2, colour=0.2)
    assert old.digest == Augmentation(shift=2, colour=0.2, p_dark=0.0, noise=30.0).digest
    assert old.digest != Augmentation(shift=2, colour=0.2, p_dark=0.1).digest


STATED = {"shift": 3.0, "rotate": 8.0, "scale": 0.1, "colour": 0.3, "p_noise": 1.0, "noise": 12.0}


def test_moves_and_colours_that_always_happen_are_drawn_as_ever() -> None:
    """A view again from one stream of numbers, the noise last: nothing else draws from it."""
    assert Augmentation(**STATED).digest == hashlib.sha256(canonical_json(STATED)).hexdigest()
    for key in ((7, 3, 0), (7, 4, 1)):
        rng = np.random.default_rng(key)
        angle, zoom, dx, dy = rng.uniform(-1, 1, 4) * (8, 0.1, 3, 3)
        brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * 0.3
        rng.random(1 + 3 + 3 + 1 + 2)  # grey; which of three degradations and how much; erase; dark, noisy
        strength = rng.uniform(0, 1, 2)[1]
        noise = rng.standard_normal(FACE.shape, np.float32) * np.float32(12 * strength)
        warp = cv2.getRotationMatrix2D((55.5, 55.5), angle, 1 + zoom)
        warp += np.array([[0, 0, dx], [0, 0, dy]])
        moved = cv2.warpAffine(FACE, warp, (112, 112), flags=cv2.INTER_LINEAR)
        grey = cv2.cvtColor(cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        mixed = cv2.addWeighted(moved, saturation, grey, 1 - saturation, 0)
        offset = max(grey[..., 0].mean() * (1 - contrast) * brightness, 0)
        coloured = cv2.convertScaleAbs(mixed, alpha=contrast * brightness, beta=offset)
        expected = (coloured.astype(np.float32) + noise).round().clip(0, 255).astype(np.uint8)
        for augmentation in (Augmentation(**STATED), Augmentation(**STATED, p_move=1.0, p_colour=1.0)):
            assert np.array_equal(augmentation.view(FACE, key), expected)


def test_moves_and_colours_that_never_happen() -> None:
    moves, colours = {"shift": 3.0, "rotate": 8.0, "scale": 0.1}, {"colour": 0.3, "p_blur": 0.5}
    for k in range(20):
        still = Augmentation(**moves, **colours, p_move=0.0).view(FACE, (1, 2, k))
        assert np.array_equal(still, Augmentation(**colours).view(FACE, (1, 2, k)))
        own = Augmentation(**moves, **colours, p_colour=0.0).view(FACE, (1, 2, k))
        assert np.array_equal(own, Augmentation(**moves, p_blur=0.5).view(FACE, (1, 2, k)))
        both = Augmentation(**moves, colour=0.3, p_move=0.0, p_colour=0.0).view(FACE, (1, 2, k))
        assert np.array_equal(both, FACE)
        grey = Augmentation(colour=0.3, p_colour=0.0, p_grey=1.0).view(FACE, (1, 2, k))
        assert np.array_equal(grey, Augmentation(p_grey=1.0).view(FACE, (1, 2, k)))
    assert Augmentation(**moves, p_move=0.5).digest != Augmentation(**moves).digest


def test_half_of_the_views_are_moved_and_half_coloured_each_on_its_own() -> None:
    settings = {"shift": 3.0, "rotate": 8.0, "scale": 0.1, "colour": 0.3}
    half = Augmentation(**settings, p_move=0.5, p_colour=0.5)
    kinds = {  # moved, coloured
        (True, True): Augmentation(**settings),
        (True, False): Augmentation(**settings, p_colour=0.0),
        (False, True): Augmentation(**settings, p_move=0.0),
        (False, False): Augmentation(),
    }
    found = []
    for k in range(400):
        view = half.view(FACE, (5, k, 0))
        found += [kind for kind, other in kinds.items() if np.array_equal(view, other.view(FACE, (5, k, 0)))]
    assert len(found) == 400
    for kind in kinds:  # a quarter each, within five deviations
        assert abs(found.count(kind) - 100) < 5 * (400 * 0.25 * 0.75) ** 0.5


def _detail(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


def test_a_shift_stays_within_its_bound() -> None:
    dot = np.zeros((112, 112, 3), np.uint8)
    dot[54:58, 54:58] = 255
    centres = []
    for key in range(200):
        view = Augmentation(shift=4).view(dot, (0, 0, key))[..., 0].astype(float)
        grid = np.indices(view.shape)
        centres.append([(grid[axis] * view).sum() / view.sum() - 55.5 for axis in (0, 1)])
    found = np.abs(centres)
    assert found.max() <= 4.05
    assert found.max() > 3.5
    assert abs(np.mean(centres)) < 0.5


def test_settings_out_of_range_are_refused_and_digests_differ() -> None:
    with pytest.raises(ValidationError):
        Augmentation(p_blur=1.5)
    with pytest.raises(ValidationError):
        Augmentation(blurr=0.5)  # type: ignore[call-arg]
    assert Augmentation(shift=1).digest != Augmentation(shift=2).digest
