"""The surroundings of the head: clothes, and a background out of focus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facekd.samples.arrays import Floats
from facekd.samples.capture import Capture
from facekd.samples.head import step
from facekd.samples.identity import Person
from facekd.samples.paint import clouds, enlarge


def clothes(p: Person, torso: Floats) -> Floats:
    """sRGB over the shoulders' grid, eight times as fine: skin above the collar, a shirt below."""
    torso = enlarge(torso, (8 * torso.shape[0], 8 * torso.shape[1]))
    rng = np.random.default_rng([p.seed, 0xC107])
    x, y, z = torso[..., 0], torso[..., 1], torso[..., 2]
    opening = rng.uniform(0.0, 0.55) * np.clip(1 - np.abs(x) / 0.45, 0, 1) * (z > 0)
    collar = -1.12 - opening
    shirt = np.asarray(p.shirt, np.float32) * (1 + 0.05 * clouds(rng, x.shape, (20, 20)))[..., None]
    if rng.random() < 0.25:
        shirt = shirt * (1 - 0.4 * (np.sin(y * rng.uniform(20, 40)) > 0.3))[..., None]
    worn = step(y, collar + 0.02, collar - 0.02)[..., None]
    skin = np.asarray(p.skin, np.float32) * 0.96
    return (skin * (1 - worn) + shirt * worn).clip(0.01, 1).astype(np.float32)


def backdrop(taken: Capture, size: int) -> Floats:
    """sRGB [size, size, 3]: a wall, a room out of focus, or leaves and sky."""
    import cv2

    rng = np.random.default_rng([*taken.seed, 0xBAC])
    small = size // 4
    base = _muted(rng, rng.uniform(0.08, 0.85))
    other = np.clip(base + rng.normal(0, 0.12) + rng.normal(0, 0.03, 3), 0.02, 1)
    slope = np.linspace(-1, 1, small, dtype=np.float32)
    tilt = rng.normal(0, 0.6, 2)
    share = (0.5 + 0.5 * np.tanh(tilt[0] * slope[:, None] + tilt[1] * slope[None]))[..., None]
    picture = (base * (1 - share) + other * share).astype(np.float32)
    kind = rng.random()
    for _ in range(int(rng.integers(3, 14)) if kind > 0.35 else 0):
        x, y, wide, tall = (int(v) for v in (*rng.integers(0, small, 2), *rng.integers(4, size // 6, 2)))
        bright = float(np.clip(base.mean() + rng.normal(0, 0.22), 0.03, 0.95))
        colour = tuple(float(c) for c in _muted(rng, bright))
        if kind > 0.7:
            cv2.circle(picture, (x, y), wide // 2, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, (x, y), (x + wide, y + 2 * tall), colour, -1)
    picture *= (1 + 0.04 * clouds(rng, (small, small), (18, 18)))[..., None]
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.6, 3.5)))
    return np.clip(cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC), 0.005, 1)


def _muted(rng: np.random.Generator, bright: float) -> NDArray[np.float64]:
    """A colour of the given brightness, mostly close to grey."""
    tint = rng.normal(0, 1, 3) * rng.choice([0.05, 0.12, 0.25])
    return np.clip(bright * (1 + tint - tint.mean()), 0.02, 1)
