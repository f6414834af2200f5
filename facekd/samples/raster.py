"""A z-buffer for grid meshes, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.samples.arrays import Floats

Corners = NDArray[np.int32]
Planes = tuple[Floats, Floats, Floats, Floats, Floats, Floats]


@dataclass(frozen=True)
class Seen:
    """The visible part of one surface, a value for each pixel that shows it: the ``pixel``'s number
    (row by row), the position on the mesh (``column`` and ``row``, both in [0, 1]) and ``depth``,
    growing towards the camera. All [N]."""

    pixel: NDArray[np.int64]
    column: Floats
    row: Floats
    depth: Floats

    def depths(self, size: int) -> Floats:
        """The depth map [size, size]; -inf where the surface is not visible."""
        picture = np.full(size * size, -np.inf, np.float32)
        picture[self.pixel] = self.depth
        return picture.reshape(size, size)

    def part(self, chosen: NDArray[np.bool_]) -> Seen:
        """Only the ``chosen`` [N] pixels."""
        return Seen(self.pixel[chosen], self.column[chosen], self.row[chosen], self.depth[chosen])

    def read(self, grid: Floats) -> Floats:
        """The values of ``grid`` [R, C, ...], of any resolution, at each pixel's position, [N, ...]."""
        import cv2

        # OpenCV supports at most 32,767 rows, so the pixels are arranged in a block
        rows, columns = grid.shape[:2]
        lines = -(-len(self.pixel) // 64)
        where = np.zeros((2, lines * 64), np.float32)
        where[0, : len(self.pixel)] = self.column * np.float32(columns - 1)
        where[1, : len(self.pixel)] = self.row * np.float32(rows - 1)
        block = where.reshape(2, lines, 64)
        if lines == 0:
            return np.zeros((0, *grid.shape[2:]), np.float32)
        found = cv2.remap(grid, block[0], block[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32).reshape(lines * 64, *grid.shape[2:])[: len(self.pixel)]


def rasterise(points: Floats, size: int, sheet: NDArray[np.bool_] | None = None) -> Seen:
    """The part of a grid mesh that a camera sees.

    ``points`` float32 [R, C, 3]: x right, y down (pixels), depth towards the camera. A closed
    body shows only triangles that face the camera; a ``sheet`` shows both its sides, and only
    triangles with all corners where ``sheet`` [R, C] holds.
    """
    rows, columns = points.shape[:2]
    flat = points.reshape(-1, 3)
    corners = _shown(flat, _grid_triangles(rows, columns), sheet)
    a, b, c = (flat[corners[:, k]] for k in range(3))
    planes = _weights(a, b, c)
    owner = _owners(a, b, c, planes, size)

    pixel = np.flatnonzero(owner >= 0)
    who = owner[pixel]
    weights = _at(planes, who, (pixel % size).astype(np.float32), (pixel // size).astype(np.float32))
    at = corners[who]
    column, row = (at % columns).astype(np.float32), (at // columns).astype(np.float32)
    return Seen(
        pixel,
        _blend(column[:, 0], column[:, 1], column[:, 2], weights) / np.float32(columns - 1),
        _blend(row[:, 0], row[:, 1], row[:, 2], weights) / np.float32(rows - 1),
        _blend(a[who, 2], b[who, 2], c[who, 2], weights),
    )


def _shown(flat: Floats, corners: Corners, sheet: NDArray[np.bool_] | None) -> Corners:
    """The visible triangles, far ones first."""
    if sheet is not None:
        corners = corners[sheet.ravel()[corners].all(axis=1)]
    x, y, depth = (flat[:, axis][corners] for axis in range(3))
    area = _area(x, y)
    facing = np.flatnonzero(area > 1e-6 if sheet is None else np.abs(area) > 1e-6)
    return corners[facing[np.argsort(depth[facing].sum(axis=1), kind="stable")]]


def _area(x: Floats, y: Floats) -> Floats:
    """Twice the area of triangles, from their corners' x and y [T, 3]; negative seen from behind."""
    return (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])


def _weights(a: Floats, b: Floats, c: Floats) -> Planes:
    """The barycentric weights of corners b and c as functions of the pixel, w = wx x + wy y + w0:
    for b its wx, wy, w0, then for c."""
    area = _area(*(np.stack([a[:, k], b[:, k], c[:, k]], -1) for k in (0, 1)))
    bx, by = (c[:, 1] - a[:, 1]) / area, (a[:, 0] - c[:, 0]) / area
    cx, cy = (a[:, 1] - b[:, 1]) / area, (b[:, 0] - a[:, 0]) / area
    return bx, by, -bx * a[:, 0] - by * a[:, 1], cx, cy, -cx * a[:, 0] - cy * a[:, 1]


def _at(planes: Planes, who: NDArray[np.int32], x: Any, y: Any) -> tuple[Floats, Floats]:
    """Both weights at pixels that belong to triangles ``who``."""
    bx, by, b0, cx, cy, c0 = (plane[who] for plane in planes)
    return bx * x + by * y + b0, cx * x + cy * y + c0


def _owners(a: Floats, b: Floats, c: Floats, planes: Planes, size: int) -> NDArray[np.int32]:
    """The number of the triangle visible at each pixel, [size * size]; -1 where there is none."""
    triangle, x, y = _covered_boxes(a, b, c, size)
    weight_b, weight_c = _at(planes, triangle, x, y)
    edge = -1e-4
    inside = (weight_b >= edge) & (weight_c >= edge) & (weight_b + weight_c <= 1 - edge)
    owner = np.full(size * size, -1, np.int32)
    # triangles are sorted far ones first: if several share a pixel, the last one written stays
    owner[(y * size + x)[inside]] = triangle[inside]
    return owner


def _blend(a: Floats, b: Floats, c: Floats, weights: tuple[Floats, Floats]) -> Floats:
    return a + weights[0] * (b - a) + weights[1] * (c - a)


@lru_cache(maxsize=8)
def _grid_triangles(rows: int, columns: int) -> Corners:
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    upper, lower = np.stack([a, b, c], -1), np.stack([b, d, c], -1)
    return np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)])


def _covered_boxes(a: Floats, b: Floats, c: Floats, size: int) -> tuple[NDArray, NDArray, NDArray]:
    """Every pixel of every triangle's bounding box: triangle number, x and y, in triangle order."""
    low = np.ceil(np.minimum(np.minimum(a, b), c)[:, :2]).clip(0, size).astype(np.int32)
    high = np.floor(np.maximum(np.maximum(a, b), c)[:, :2]).clip(-1, size - 1).astype(np.int32)
    span = (high - low + 1).clip(0)
    count = span[:, 0] * span[:, 1]
    triangle = np.repeat(np.arange(len(count), dtype=np.int32), count)
    start = (np.cumsum(count) - count).astype(np.int32)
    step = np.arange(len(triangle), dtype=np.int32) - start[triangle]
    across = span[triangle, 0]
    down = step // across
    return triangle, low[triangle, 0] + step - down * across, low[triangle, 1] + down
