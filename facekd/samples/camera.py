"""From points in space to points on the photo."""

from __future__ import annotations

import numpy as np

from facekd.samples.arrays import Floats
from facekd.samples.capture import Capture

#: what the head turns about, in head units: the top of the neck
_PIVOT = np.array((0, -0.30, -0.15), np.float32)


def turn(points: Floats, taken: Capture, share: float = 1.0) -> Floats:
    """Points [..., 3] turned as the head is (``share`` below 1: as the shoulders follow)."""
    yaw, pitch, roll = (np.radians(a * share) for a in (taken.yaw, taken.pitch, taken.roll))
    (cy, cp, cr), (sy, sp, sr) = np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll))
    about_y = np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    about_x = np.array([(1, 0, 0), (0, cp, -sp), (0, sp, cp)])
    about_z = np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)])
    rotation = (about_z @ about_x @ about_y).astype(np.float32)
    turned: Floats = (points - _PIVOT) @ rotation.T + _PIVOT
    return turned


def project(points: Floats, taken: Capture, size: int) -> Floats:
    """Points [..., 3] in space to x right, y down and depth, in pixels of a photo of ``size``."""
    unit = taken.scale * size / 2
    shrink = unit * taken.distance / (taken.distance - points[..., 2])
    out = np.empty_like(points)
    out[..., 0] = taken.across * size + points[..., 0] * shrink
    out[..., 1] = taken.down * size - points[..., 1] * shrink
    out[..., 2] = points[..., 2] * unit
    return out


def normals(points: Floats) -> Floats:
    """Unit normals of a grid of points, outwards, [R, C, 3]."""
    down = np.empty_like(points)
    down[1:-1] = points[2:] - points[:-2]
    down[0], down[-1] = points[1] - points[0], points[-1] - points[-2]
    right = np.empty_like(points)
    right[:, 1:-1] = points[:, 2:] - points[:, :-2]
    right[:, 0], right[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    normal = np.empty_like(points)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        normal[..., k] = down[..., i] * right[..., j] - down[..., j] * right[..., i]
    return unit(normal)


def unit(vectors: Floats) -> Floats:
    """``vectors`` [..., 3] at length 1, in place."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors)) + np.float32(1e-9)
    for axis in range(3):
        vectors[..., axis] /= length
    return vectors
