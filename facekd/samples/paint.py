"""Painting helpers: noise and soft edges."""

from __future__ import annotations

import numpy as np

from facekd.samples.arrays import Floats


def clouds(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float]) -> Floats:
    """Smooth noise of unit variance with about ``cells`` grains down and across."""
    import cv2

    rows, columns = (max(2, round(c)) for c in cells)
    grains = rng.standard_normal((rows, columns), dtype=np.float32)
    return enlarge(grains, shape, cv2.INTER_CUBIC)


def enlarge(grid: Floats, shape: tuple[int, ...], how: int | None = None) -> Floats:
    """``grid`` [R, C, ...] at another resolution (linear unless OpenCV's ``how`` says otherwise)."""
    import cv2

    method = cv2.INTER_LINEAR if how is None else how
    return np.asarray(cv2.resize(np.ascontiguousarray(grid), shape[1::-1], interpolation=method), np.float32)


def mix(under: Floats, over: Floats | tuple[float, ...], alpha: Floats) -> None:
    """Paint ``over`` on ``under`` [..., 3] in place, with the opacity ``alpha`` [...]."""
    over = np.asarray(over, np.float32)
    # a channel at a time: broadcasting over an inner axis of three is several times slower
    for channel in range(3):
        under[..., channel] += (over[..., channel] - under[..., channel]) * alpha


def soft_band(value: Floats, low: Floats | float, high: Floats | float, edge: float) -> Floats:
    """1 where ``low < value < high``, with edges ``edge`` wide."""
    inside = np.minimum(value - low, high - value)
    return np.clip(inside / edge + 0.5, 0, 1)
