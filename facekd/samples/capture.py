"""How a photo is taken: pose, expression, light, camera and what it loses on the way to a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Capture:
    """The conditions of one photo. Angles are in degrees; ``scale`` is the head's height as a
    fraction of the photo's side; ``light`` points from the head to the light (right, up, towards
    the camera); positions are fractions of the side; ``blur`` is the standard deviation in pixels of
    a photo of 200; ``noise`` is in fractions of white."""

    seed: tuple[int, int]
    yaw: float
    pitch: float
    roll: float
    smile: float
    mouth_open: float
    blink: float
    brow_raise: float
    gaze: tuple[float, float]
    light: tuple[float, float, float]
    light_colour: tuple[float, float, float]
    key: float
    ambient: float
    hardness: float
    exposure: float
    scale: float
    across: float
    down: float
    distance: float
    wears_glasses: bool
    blur: float
    noise: float
    jpeg_quality: int


def capture(seed: int, photo: int) -> Capture:
    """The conditions of photo number ``photo`` of the person of ``seed``."""
    rng = np.random.default_rng([seed, photo, 0x5407])
    azimuth, height = np.radians(rng.normal(0, 38)), np.radians(rng.uniform(0, 55))
    warm = rng.normal(0, 0.06)
    return Capture(
        seed=(seed, photo),
        yaw=float(np.clip(rng.normal(0, 17), -42, 42)),
        pitch=float(np.clip(rng.normal(0, 7), -17, 17)),
        roll=float(np.clip(rng.normal(0, 6), -18, 18)),
        smile=float(np.clip(rng.normal(0.4, 0.4), -0.2, 1.0)),
        mouth_open=float(max(0.0, rng.normal(-0.1, 0.4))) if rng.random() < 0.6 else 0.0,
        blink=float(rng.uniform(0, 0.25)) if rng.random() < 0.95 else float(rng.uniform(0.4, 1.0)),
        brow_raise=float(np.clip(rng.normal(0, 0.5), -1, 1)),
        gaze=(float(rng.normal(0, 0.13)), float(rng.normal(0, 0.06))),
        light=(
            float(np.sin(azimuth) * np.cos(height)),
            float(np.sin(height)),
            float(np.cos(azimuth) * np.cos(height)),
        ),
        light_colour=(float(1 + warm), 1.0, float(1 - 1.3 * warm)),
        key=float(rng.uniform(0.5, 0.95)),
        ambient=float(rng.uniform(0.22, 0.6)),
        hardness=float(rng.uniform(0.2, 0.9)),
        exposure=float(np.clip(rng.normal(1.0, 0.14), 0.65, 1.4)),
        scale=float(rng.uniform(0.58, 0.76)),
        across=float(0.5 + rng.normal(0, 0.02)),
        down=float(0.49 + rng.normal(0, 0.02)),
        distance=float(rng.uniform(6, 14)),
        wears_glasses=bool(rng.random() < 0.85),
        blur=float(max(0.0, rng.normal(0.25, 0.35))),
        noise=float(abs(rng.normal(0, 0.012))),
        jpeg_quality=int(rng.integers(70, 95)),
    )
