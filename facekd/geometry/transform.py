"""The least-squares similarity transform from five landmarks to a template.

Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE
TPAMI 13(4), 1991.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import TooSmall

Matrix = NDArray[np.float64]


def similarity(source: ArrayLike, target: ArrayLike) -> Matrix:
    """The similarity transform [2, 3] that takes points ``source`` [N, 2] closest to ``target``.

    In the plane, Umeyama's solution without reflection is one complex factor: with both sets
    centred, z -> a z, a = sum(conj(s) t) / sum(|s|^2). Raises `TooSmall` for coinciding points.
    """
    start, end = np.asarray(source, np.float64), np.asarray(target, np.float64)
    s = (start - start.mean(0)) @ (1, 1j)
    t = (end - end.mean(0)) @ (1, 1j)
    spread = np.vdot(s, s).real
    factor = np.vdot(s, t) / spread if spread > 1e-9 else 0
    if not math.isfinite(abs(factor)) or abs(factor) < 1e-9:
        raise TooSmall("the landmarks coincide: there is no face to align")
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, end.mean(0) - turn @ start.mean(0)])


def scale_of(matrix: Matrix) -> float:
    """The scale factor of a similarity transform [2, 3]."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def turned_left(points: NDArray, quarters: int, shape: tuple[int, ...], pixels: bool = True) -> NDArray:
    """``points`` [N, 2] of a photo of ``shape`` (height, width) after it is turned left by
    ``quarters`` right angles. Points are centres of ``pixels``, counted from 0, or edges between them."""
    x, y = points[:, 0], points[:, 1]
    height, width = (side - 1 if pixels else side for side in shape[:2])
    for _ in range(quarters % 4):
        x, y = y, width - x
        height, width = width, height
    return np.stack([x, y], axis=1)
