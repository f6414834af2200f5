"""The head, the hair's shell and the shoulders as grids of points in space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from facekd.samples.arrays import Floats
from facekd.samples.capture import Capture
from facekd.samples.identity import Person
from facekd.samples.layout import Layout

#: points of the head's grid; columns go round the head, denser on the face, rows from crown to chin;
#: odd, so that every second one is the same head
ROWS, COLUMNS = 193, 193


@lru_cache(maxsize=4)
def directions(rows: int, columns: int) -> tuple[Floats, Floats]:
    """The grid's angle around the head (0 is ahead, positive to the right of the photo) and its
    height on the unit sphere, both [rows, columns]."""
    c = np.linspace(-1, 1, columns, dtype=np.float32)
    angle = np.pi * (0.5 * c + 0.5 * c**3)
    y = np.cos(np.linspace(0, np.pi, rows, dtype=np.float32))
    grid_angle, grid_y = np.meshgrid(angle, y)
    return grid_angle, grid_y


def bump(x: Floats, y: Floats, at: tuple[float, float], wide: float, tall: float) -> Floats:
    """A Gaussian hill of height 1."""
    hill: Floats = np.exp(-(((x - at[0]) / wide) ** 2 + ((y - at[1]) / tall) ** 2) * 0.5)
    return hill


def step(value: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """0 below ``low``, 1 above ``high``, smooth between; ``low`` may be the greater."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def skull(p: Person, rows: int = ROWS, columns: int = COLUMNS) -> Floats:
    """The head without its features, [rows, columns, 3]: cross-sections that are half ellipses,
    flatter in front, whose half width and depths follow the height."""
    angle, y = directions(rows, columns)
    line = y[:, 0]
    width = _profile(line, (1, 0.74), (0.8, 0.78), (0.5, 0.745), (0.2, 0.70), (0, 0.685), (-0.2, 0.67),
                     (-0.45, 0.64), (-0.7, 0.615), (-0.85, 0.61), (-1, 0.66))  # fmt: skip
    front = _profile(line, (1, 0.85), (0.8, 0.94), (0.5, 0.85), (0.2, 0.77), (0, 0.735), (-0.2, 0.745),
                     (-0.5, 0.83), (-0.75, 1.0), (-0.9, 1.28), (-0.97, 1.6), (-1, 1.8))  # fmt: skip
    back = _profile(line, (1, 0.9), (0.5, 0.98), (0, 0.88), (-0.3, 0.78), (-0.6, 0.62), (-1, 0.5))
    width = width * (1 + 0.050 * p.face_width)
    width = width * (1 + 0.060 * p.jaw_width * _hill(line, -0.62, 0.17))
    width = width * (1 + 0.130 * p.chin_width * _hill(line, -0.95, 0.09))
    width = width * (1 + 0.035 * p.temples * _hill(line, 0.35, 0.2))
    width = width * (1 + 0.030 * p.cheekbones * _hill(line, -0.15, 0.15))
    front = front * (1 + 0.04 * p.forehead * _hill(line, 0.5, 0.2))
    girth = np.sqrt(np.clip(1 - y * y, 0, 1))
    ahead = np.cos(angle)
    depth = np.where(ahead > 0, front[:, None], back[:, None])
    x = width[:, None] * girth * np.sin(angle)
    z = depth * girth * np.sign(ahead) * np.abs(ahead) ** np.float32(0.82)
    return np.stack([x, y * (1 + 0.05 * p.face_length) + 0 * x, z], -1).astype(np.float32)


@dataclass(frozen=True)
class Head:
    """A head at rest, ``points`` [ROWS, COLUMNS, 3], and the ways it moves: how far each point
    goes for a full smile (towards the camera), raised brows and an open mouth (upwards), each
    [ROWS, COLUMNS]."""

    points: Floats
    smile: Floats
    brows: Floats
    jaw: Floats

    def with_expression(self, taken: Capture) -> Floats:
        """The points of the head as it looks in a photo."""
        points = self.points.copy()
        points[..., 2] += np.float32(max(taken.smile, 0.0)) * self.smile
        points[..., 1] += np.float32(taken.brow_raise) * self.brows + np.float32(taken.mouth_open) * self.jaw
        return points


def head(p: Person, where: Layout) -> Head:
    """The head of ``p``."""
    points = skull(p)
    angle, _ = directions(ROWS, COLUMNS)
    x, y = points[..., 0].copy(), points[..., 1].copy()
    side = np.abs(x)
    ahead = step(np.cos(angle), 0.05, 0.45)
    relief = (
        _brows_and_eyes(p, where, side, y)
        + _nose(p, where, x, y)
        + _mouth_and_chin(p, where, x, y)
        + _cheeks(p, where, side, y)
    )
    points[..., 2] += relief * ahead
    points[..., 0] += _ears(p, angle, y) * np.sign(x)
    points[..., 0] *= 1 + 0.012 * p.asymmetry * np.sign(x) * step(side, 0, 0.3)
    return Head(
        points,
        smile=ahead * (0.05 * bump(side, y, (0.35, -0.30), 0.10, 0.09) - 0.016 * _fold(where, side, y)),
        brows=0.028 * ahead * bump(x, y, (0, where.brow_y), 0.5, 0.07),
        jaw=-0.09 * step(np.cos(angle), -0.3, 0.3) * step(y, where.mouth_y + 0.02, where.mouth_y - 0.16),
    )


def _brows_and_eyes(p: Person, where: Layout, side: Floats, y: Floats) -> Floats:
    ridge = 0.035 + 0.012 * p.eye_depth
    eye = (where.eye_x, where.eye_y)
    return (
        ridge * bump(side, y, (where.eye_x * 0.8, where.brow_y - 0.01), 0.17, 0.055)
        - (0.085 + 0.018 * p.eye_depth) * bump(side, y, (eye[0] - 0.02, eye[1] + 0.02), 0.13, 0.085)
        + 0.055 * bump(side, y, eye, 0.085, 0.065)
        - 0.012 * bump(side, y, (eye[0] - 0.03, eye[1] - 0.12), 0.10, 0.03) * (0.5 + p.age)
    )


def _nose(p: Person, where: Layout, x: Floats, y: Floats) -> Floats:
    top, tip = where.eye_y + 0.06, where.nose_y + 0.055
    along = np.clip((top - y) / (top - tip), 0, 1)
    height = (0.075 + 0.018 * p.nose_bridge) * (1 - along) + (0.205 + 0.028 * p.nose_forward) * along
    height = height + 0.028 * p.nose_hump * np.exp(-(((along - 0.45) / 0.2) ** 2))
    height = height * step(y, where.nose_y - 0.085, tip + 0.03) * step(y, top + 0.14, top - 0.03)
    wide = 0.050 + 0.006 * p.nose_bridge + 0.030 * along + 0.006 * p.nose_width * along
    ridge = height * np.exp(-((np.abs(x) / wide) ** 2) * 0.55)
    ball = (0.050 + 0.014 * p.nose_tip) * bump(x, y, (0, tip), 0.060 + 0.008 * p.nose_tip, 0.052)
    wings = 0.095 * bump(np.abs(x), y, (where.nose_half * 0.70, where.nose_y + 0.035), 0.042, 0.046)
    return ridge + ball + wings


def _mouth_and_chin(p: Person, where: Layout, x: Floats, y: Floats) -> Floats:
    mouth = where.mouth_y
    wide = where.mouth_half * 1.05
    lips = np.exp(-((x / (wide * 0.72)) ** 2) * 0.5)
    chin = (0.062 + 0.022 * p.chin_forward) * bump(x, y, (0, -0.87 - 0.02 * p.chin_length), 0.13, 0.085)
    return (
        0.055 * bump(x, y, (0, mouth + 0.02), 0.24, 0.15)
        + 0.030 * lips * bump(0 * x, y, (0, mouth + where.upper_lip * 0.6), 1, 0.026)
        + 0.040 * lips * bump(0 * x, y, (0, mouth - where.lower_lip * 0.6), 1, 0.032)
        - 0.030 * lips * bump(0 * x, y, (0, mouth), 1, 0.012)
        - 0.014 * bump(x, y, (0, (mouth + where.nose_y) / 2), 0.022, 0.06)
        - 0.035 * bump(x, y, (0, mouth - where.lower_lip - 0.075), 0.17, 0.035)
        - 0.016 * bump(np.abs(x), y, (wide + 0.02, mouth), 0.035, 0.035)
        + chin
    )


def _cheeks(p: Person, where: Layout, side: Floats, y: Floats) -> Floats:
    return (
        (0.045 + 0.018 * p.cheekbones) * bump(side, y, (0.43, -0.16), 0.14, 0.11)
        + (0.022 * p.cheeks) * bump(side, y, (0.40, -0.48), 0.13, 0.16)
        - (0.004 + 0.014 * p.age) * _fold(where, side, y)
    )


def _fold(where: Layout, side: Floats, y: Floats) -> Floats:
    """The fold from the nose's wing to beside the mouth."""
    upper = (where.nose_half + 0.02, where.nose_y + 0.02)
    lower = (where.mouth_half + 0.07, where.mouth_y - 0.02)
    return _beside_line(side, y, upper, lower, 0.02)


def _ears(p: Person, angle: Floats, y: Floats) -> Floats:
    """How far the sides stand out: a rim around a hollow."""
    round_ = np.sqrt(((np.abs(angle) - 1.72) / 0.20) ** 2 + ((y + 0.11) / 0.235) ** 2)
    rim = step(round_, 1.05, 0.85)
    hollow = np.exp(-(((np.abs(angle) - 1.66) / 0.09) ** 2 + ((y + 0.10) / 0.11) ** 2))
    lean = np.clip((np.abs(angle) - 1.5) / 0.4, 0, 1)
    return (0.05 + 0.022 * p.ears + 0.06 * lean) * rim - 0.05 * hollow


def shoulders(p: Person) -> Floats:
    """Neck and torso, [40, 48, 3]: sections that widen quickly below the neck. The grid goes
    round like the head's."""
    angle = np.linspace(-np.pi, np.pi, 48, dtype=np.float32)
    y = np.linspace(-0.45, -3.2, 40, dtype=np.float32)
    neck = 0.42 + 0.028 * p.neck
    spread = step(y, -1.08, -1.75)
    width = neck + (1.55 + 0.08 * p.neck - neck) * spread**1.2 + 0.05 * step(y, -1.0, -1.2)
    depth = 0.42 + 0.12 * spread
    grid_y = y[:, None] + 0 * angle[None]
    x = width[:, None] * np.sin(angle)
    z = depth[:, None] * np.cos(angle) - 0.16 + 0.05 * (y[:, None] + 1.2)
    return np.stack([x, grid_y, z], -1).astype(np.float32)


def _profile(line: Floats, *knots: tuple[float, float]) -> Floats:
    """A smooth curve through (height, value) pairs given from the top down."""
    heights, values = zip(*reversed(knots), strict=True)
    rough = np.interp(line, heights, values)
    kernel = np.hanning(max(5, len(line) // 14))
    padded = np.pad(rough, len(kernel), mode="edge")
    smooth = np.convolve(padded, kernel / kernel.sum(), mode="same")[len(kernel) : -len(kernel)]
    return smooth.astype(np.float32)


def _hill(line: Floats, at: float, wide: float) -> Floats:
    return np.exp(-(((line - at) / wide) ** 2) * 0.5)


def _beside_line(x: Floats, y: Floats, a: tuple[float, float], b: tuple[float, float], wide: float) -> Floats:
    """A Gaussian ridge along the segment from ``a`` to ``b``."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    gap = (x - a[0] - t * dx) ** 2 + (y - a[1] - t * dy) ** 2
    return np.exp(-gap / (2 * wide * wide))
