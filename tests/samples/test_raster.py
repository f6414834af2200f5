"""The z-buffer against planes and steps whose picture is known."""

from __future__ import annotations

import numpy as np

from facekd.samples.raster import rasterise


def plane(depth: float, left: float = 4, right: float = 24, rows: int = 5, columns: int = 6) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(left, right, columns), np.linspace(6, 22, rows))
    return np.stack([x, y, np.full_like(x, depth)], -1).astype(np.float32)


def test_plane_covers_its_rectangle_and_states_places_and_depth():
    seen = rasterise(plane(3.0), 32)
    y, x = np.divmod(seen.pixel, 32)
    assert set(zip(x, y, strict=True)) == {(a, b) for a in range(4, 25) for b in range(6, 23)}
    np.testing.assert_allclose(seen.column, (x - 4) / 20, atol=1e-4)
    np.testing.assert_allclose(seen.row, (y - 6) / 16, atol=1e-4)
    np.testing.assert_allclose(seen.depth, 3.0, atol=1e-5)


def test_slanted_depth_is_interpolated():
    points = plane(0.0)
    points[..., 2] = 2 * points[..., 0] - points[..., 1]
    seen = rasterise(points, 32)
    y, x = np.divmod(seen.pixel, 32)
    np.testing.assert_allclose(seen.depth, 2 * x - y, atol=1e-3)


def test_nearer_part_of_one_mesh_wins():
    # a band that goes right, far away, and comes back over itself, nearer: one sheet, two layers
    far, near = plane(1.0), plane(5.0, left=24, right=14)
    folded = np.concatenate([far, near[:, 1:]], axis=1)
    seen = rasterise(folded, 32, np.ones(folded.shape[:2], bool))
    x = seen.pixel % 32
    assert np.all(seen.depth[(x < 14)] == 1.0)
    assert seen.depth[(x > 15) & (x < 22)].min() == 5.0


def test_a_body_hides_its_back_and_a_sheet_does_not():
    turned = plane(1.0)[:, ::-1]
    assert len(rasterise(turned, 32).pixel) == 0
    assert len(rasterise(turned, 32, np.ones(turned.shape[:2], bool)).pixel) == 21 * 17


def test_surface_outside_the_picture_is_cut():
    seen = rasterise(plane(1.0, left=-50, right=80), 32)
    assert len(seen.pixel) == 32 * 17
    assert len(rasterise(plane(1.0, left=100, right=120), 32).pixel) == 0


def test_read_interpolates_a_grid_of_any_fineness():
    seen = rasterise(plane(1.0), 32)
    ramp = np.tile(np.linspace(0, 1, 90, dtype=np.float32), (40, 1))
    np.testing.assert_allclose(seen.read(ramp), seen.column, atol=0.02)
    both = np.stack([ramp, 1 - ramp, 0 * ramp], -1)
    assert seen.read(both).shape == (len(seen.pixel), 3)
    empty = rasterise(plane(1.0, left=100, right=120), 32)
    assert empty.read(both).shape == (0, 3)
