"""Hair: a shell around the skull, cut by a hairline, with strands painted on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.samples.arrays import Floats
from facekd.samples.head import bump, directions, skull, step
from facekd.samples.identity import HairStyle, Person
from facekd.samples.layout import Layout
from facekd.samples.paint import clouds, enlarge

ROWS, COLUMNS = 68, 100
#: where hair that hangs leaves the skull
_HANG = -0.05


@dataclass(frozen=True)
class Hair:
    """``points`` [ROWS, COLUMNS, 3]; ``alpha`` how dense and ``tint`` how bright it is there,
    both [3 * ROWS, 3 * COLUMNS]; ``grows`` [ROWS, COLUMNS] where there is any."""

    points: Floats
    grows: NDArray[np.bool_]
    alpha: Floats
    tint: Floats


@dataclass(frozen=True)
class _Cut:
    """Thickness on top and at the sides, the lowest height behind, whether ears are covered, the
    grain of the strands (cells down and around) and how lumpy the surface is."""

    top: float
    sides: float
    lowest: float
    covers_ears: bool
    grain: tuple[float, float]
    lumps: float


_CUTS: dict[HairStyle, _Cut] = {
    "bald": _Cut(0.008, 0.010, -0.35, False, (40, 120), 0.0),
    "buzz": _Cut(0.022, 0.018, -0.40, False, (90, 140), 0.004),
    "short": _Cut(0.085, 0.035, -0.42, False, (9, 110), 0.012),
    "parted": _Cut(0.11, 0.05, -0.42, False, (7, 90), 0.014),
    "quiff": _Cut(0.14, 0.03, -0.42, False, (6, 80), 0.02),
    "curly": _Cut(0.20, 0.17, -0.45, False, (38, 46), 0.045),
    "bob": _Cut(0.11, 0.19, -0.85, True, (4, 100), 0.012),
    "long": _Cut(0.10, 0.17, -1.75, True, (4, 100), 0.022),
    "fringe": _Cut(0.10, 0.16, -1.45, True, (4, 110), 0.014),
    "tied": _Cut(0.055, 0.035, -0.42, False, (5, 120), 0.006),
}


def grow(p: Person, where: Layout) -> Hair:
    """The hair of ``p``."""
    import cv2

    rng = np.random.default_rng([p.seed, 0x4A1])
    cut = _CUTS[p.hair]
    shell = _shell(p, where, cut, rng)
    fine = (3 * ROWS, 3 * COLUMNS)
    angle, height = (enlarge(g, fine) for g in (directions(ROWS, COLUMNS)[0], shell[..., 1]))
    down, around = cut.grain
    strands = 0.7 * clouds(rng, fine, cut.grain) + 0.5 * clouds(rng, fine, (3 * down, 2 * around))
    edge = _hairline(p, where, cut, angle) + 0.018 * clouds(rng, fine, (3, 40))
    alpha = step(height - edge + 0.022 * strands, -0.02, 0.05)
    if p.hair == "bald":
        alpha = alpha * 0.75 * step(height, 0.42, 0.10)
    elif p.hair == "buzz":
        alpha = alpha * np.clip(0.72 + 0.12 * strands, 0, 1)
    if cut.covers_ears:
        alpha = alpha * step(height + 0.04 * strands, cut.lowest + 0.02, cut.lowest + 0.10)
    tint = 1 + (0.20 if cut.grain[0] < 30 else 0.13) * strands
    if p.hair in ("parted", "bob", "long"):
        line = np.exp(-(((angle - p.parting) / 0.05) ** 2)) * step(height, 0.5, 0.75) * (np.abs(angle) < 1.2)
        tint = tint * (1 - 0.45 * line)
    grows = enlarge(alpha, (ROWS, COLUMNS)) > 0.08
    # a soft edge needs the cells around it; lower down these would hide the hair behind the neck
    grows |= cv2.dilate(grows.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & (shell[..., 1] > 0)
    return Hair(shell, grows, alpha.astype(np.float32), tint.astype(np.float32))


def _shell(p: Person, where: Layout, cut: _Cut, rng: np.random.Generator) -> Floats:
    angle, y = directions(ROWS, COLUMNS)
    base = skull(p, ROWS, COLUMNS)
    lowest = min(cut.lowest, -0.3)
    hanging = y < _HANG
    if cut.covers_ears:
        # below the ears' top the section stays as wide as it is there
        row = int(np.argmin(np.abs(y[:, 0] - _HANG)))
        fall = np.clip((_HANG - y) / (_HANG + 1), 0, 1)
        wave = 1 + 0.03 * np.sin(7 * fall + p.parting * 9) * fall - 0.05 * fall
        points = np.where(hanging[..., None], base[row][None] * wave[..., None], base)
        points[..., 1] = np.where(hanging, _HANG + fall * (lowest - _HANG), base[..., 1])
    else:
        points = base.copy()
    up = step(y, -0.2, 0.75)
    thick = cut.sides * (1 - up) + cut.top * up
    if p.hair == "quiff":
        thick = thick + 0.13 * bump(angle, y, (0, 0.86), 0.8, 0.09)
    if p.hair == "parted":
        thick = thick + 0.05 * np.sin(angle - p.parting) * np.sign(p.parting or 1.0) * up
    # no lumps at the crown, where all columns meet
    lumps = cut.lumps * step(y, 0.995, 0.93)
    thick = thick + lumps * clouds(rng, (ROWS, COLUMNS), (12, 18))
    thick = thick + 0.45 * lumps * clouds(rng, (ROWS, COLUMNS), (26, 44))
    if p.hair != "fringe":
        thick = thick * (0.2 + 0.8 * step(points[..., 1] - _hairline(p, where, cut, angle), 0.0, 0.22))
    grown = points * (1.012 + thick[..., None])
    grown[..., 1] = np.where(hanging, points[..., 1], grown[..., 1])
    return grown.astype(np.float32)


def _hairline(p: Person, where: Layout, cut: _Cut, angle: Floats) -> Floats:
    """The height below which there is no hair, by the angle around the head."""
    away = np.abs(angle)
    front = where.hairline_y
    recede = 0.10 * p.age if p.hair in ("short", "buzz", "quiff", "tied") else 0.0
    angles = [0.0, 0.35, 0.65, 0.95, 1.15, 1.28, 1.42, 1.55, 1.85, 2.05, 2.4, 3.2]
    heights = [front, front - 0.01 + recede, front - 0.03 + recede, 0.46, 0.24, 0.0]
    heights += [-0.12, 0.10, 0.12, -0.25, -0.42, -0.45]
    if p.hair == "fringe":
        heights[:4] = [where.brow_y + 0.10] * 3 + [where.brow_y + 0.02]
    if cut.covers_ears:
        heights[3:] = [0.36, *[cut.lowest] * 8]
    if p.hair == "curly":
        heights[4:8] = [0.22, 0.02, -0.15, 0.0]
    return np.interp(away, angles, heights).astype(np.float32)
