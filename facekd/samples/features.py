"""The parts painted on a head again for every photo, because they move: eyes and mouth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facekd.samples.arrays import Floats
from facekd.samples.capture import Capture
from facekd.samples.identity import Person
from facekd.samples.layout import Layout
from facekd.samples.paint import mix, soft_band


def paint_features(
    p: Person, where: Layout, taken: Capture, colour: Floats, x: Floats, y: Floats, z: Floats
) -> None:
    """Paint both eyes and the mouth on ``colour`` in place; x, y, z are the position of each texel."""
    for sign in (-1, 1):
        at = (sign * where.eye_x, where.eye_y)
        part = _window(x, y, z, at, where.eye_half * 1.2, where.eye_half * 0.95)
        _eye(p, where, taken, sign, colour[part], x[part], y[part])
    part = _window(x, y, z, (0, where.mouth_y), where.mouth_half * 1.3, 0.2)
    _mouth(p, where, taken, colour[part], x[part], y[part])


def mouth_stretch(taken: Capture) -> float:
    """How much wider the mouth is than at rest."""
    return 1 + 0.18 * taken.smile


def _window(
    x: Floats, y: Floats, z: Floats, at: tuple[float, float], wide: float, tall: float
) -> tuple[slice, slice]:
    """The block of texels around a place on the face."""
    rows = np.flatnonzero(np.abs(y[:, 0] - at[1]) < tall)
    middle = int(rows.mean())
    columns = np.flatnonzero((np.abs(x[middle] - at[0]) < wide) & (z[middle] > 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _eye(p: Person, where: Layout, taken: Capture, sign: int, colour: Floats, x: Floats, y: Floats) -> None:
    # along the eye: -1 at the inner corner, 1 at the outer; lengths in half eyes
    along = (x * sign - where.eye_x) / where.eye_half
    up = (y - where.eye_y) / where.eye_half - where.eye_tilt / where.eye_half * along * 0.5
    inside = np.clip(1 - along * along, 0, 1)
    smile = max(taken.smile, 0.0)
    open_ = where.eye_open * (1 - taken.blink) * (1 - 0.18 * smile)
    upper = open_ * inside**0.62 * (1 + 0.16 * along) - 0.06 * taken.blink
    lower = -0.26 * inside**0.75 * (1 - 0.12 * along) * (1 - 0.35 * smile - 0.25 * taken.blink)
    lower = np.minimum(lower, upper)
    skin = np.asarray(p.skin, np.float32)

    crease = np.exp(-(((up - upper - 0.17 - 0.05 * p.lid_crease) / 0.055) ** 2))
    mix(colour, skin * (0.48, 0.40, 0.40), 0.65 * crease * soft_band(along, -1.0, 1.15, 0.4))
    under = np.exp(-(((up - lower + 0.16) / 0.06) ** 2)) * soft_band(along, -0.9, 0.9, 0.5)
    mix(colour, skin * (0.72, 0.60, 0.60), 0.30 * under)

    opening = soft_band(up, lower, upper, 0.06) * (np.abs(along) < 1)
    white = np.array((0.88, 0.85, 0.83), np.float32) * (1 - 0.35 * along[..., None] ** 4)
    mix(colour, white, opening)
    corner = opening * np.clip((-along - 0.78) / 0.15, 0, 1)
    mix(colour, (0.72, 0.42, 0.40), 0.8 * corner)
    _iris(p, taken, sign, colour, along, up, opening)
    lid_shade = opening * np.exp(-np.clip(upper - up, 0, 1) / 0.10)
    mix(colour, (0.10, 0.07, 0.06), 0.60 * lid_shade)

    lash = np.exp(-(((up - upper - 0.015) / (0.050 + 0.02 * np.clip(along, 0, 1))) ** 2))
    mix(colour, (0.06, 0.045, 0.04), 0.92 * lash * soft_band(along, -1.0, 1.12, 0.14))
    lower_lash = np.exp(-(((up - lower + 0.01) / 0.032) ** 2)) * soft_band(along, -0.7, 1.05, 0.3)
    mix(colour, skin * (0.42, 0.34, 0.34), 0.62 * lower_lash)


def _iris(
    p: Person, taken: Capture, sign: int, colour: Floats, along: Floats, up: Floats, opening: Floats
) -> None:
    across, high = sign * taken.gaze[0], taken.gaze[1] + 0.05
    distance = np.hypot(along - across, up - high)
    iris = np.asarray(p.iris, np.float32)
    ring = np.clip((0.43 - distance) / 0.05, 0, 1)
    mix(colour, iris * (0.55 + 1.2 * np.clip(distance, 0, 0.4)[..., None]), ring * opening)
    limbus = np.exp(-(((distance - 0.41) / 0.05) ** 2))
    mix(colour, iris * 0.25, 0.7 * limbus * opening)
    mix(colour, (0.02, 0.02, 0.02), np.clip((0.18 - distance) / 0.04, 0, 1) * opening)
    light_right, light_up, _ = taken.light
    glint = np.hypot(along - across - 0.28 * sign * light_right, up - high - 0.10 - 0.08 * light_up)
    mix(colour, (0.97, 0.97, 0.97), np.clip((0.095 - glint) / 0.05, 0, 1) * opening * 0.9)


def _mouth(p: Person, where: Layout, taken: Capture, colour: Floats, x: Floats, y: Floats) -> None:
    smile = taken.smile
    half = where.mouth_half * mouth_stretch(taken)
    t = np.clip(x / half, -1, 1)
    inside = np.clip(1 - t * t, 0, 1)
    middle = where.mouth_y + (0.012 + 0.060 * smile + 0.012 * p.mouth_curve) * t * t - 0.006 * p.asymmetry * t
    gap = (0.085 * taken.mouth_open + 0.030 * max(smile - 0.45, 0)) * inside**0.7
    peaks = 0.12 * np.exp(-(((np.abs(t) - 0.25) / 0.14) ** 2))
    bow = 1 - (0.22 + 0.10 * p.cupid) * np.exp(-((t / 0.13) ** 2)) + peaks
    thin = 1 - 0.22 * max(smile, 0)
    upper_edge, lower_edge = middle + 0.35 * gap, middle - 0.65 * gap
    top = upper_edge + where.upper_lip * thin * inside**0.75 * bow
    bottom = lower_edge - where.lower_lip * thin * inside**0.62

    lip = np.asarray(p.lips, np.float32)
    within = np.abs(x) < half
    upper = soft_band(y, upper_edge, top, 0.010) * within
    lower = soft_band(y, bottom, lower_edge, 0.010) * within
    mix(colour, lip * 0.86, upper * 0.92)
    mix(colour, lip, lower * 0.92)
    shine = np.exp(-(((y - lower_edge + where.lower_lip * 0.45) / 0.014) ** 2)) * inside**2
    mix(colour, np.minimum(lip * 1.25 + 0.05, 1), 0.4 * shine * lower)
    _inside_mouth(colour, y, upper_edge, lower_edge, t, within)
    seam = np.exp(-(((y - upper_edge) / 0.007) ** 2)) * (np.abs(x) < half * 1.02)
    mix(colour, lip * 0.25, 0.85 * seam)
    corners = np.exp(-(((np.abs(x) - half) / 0.016) ** 2) - ((y - middle) / 0.014) ** 2)
    mix(colour, np.asarray(p.skin, np.float32) * 0.35, 0.7 * corners)
    under = np.exp(-(((y - bottom + 0.018) / 0.016) ** 2)) * inside
    mix(colour, np.asarray(p.skin, np.float32) * 0.6, 0.30 * under)


def _inside_mouth(
    colour: Floats, y: Floats, upper: Floats, lower: Floats, t: Floats, within: NDArray[np.bool_]
) -> None:
    opening = soft_band(y, lower, upper, 0.008) * within * (upper - lower > 0.004)
    mix(colour, (0.16, 0.05, 0.05), opening)
    gum = upper - np.minimum(0.055, 0.8 * (upper - lower))
    teeth = soft_band(y, gum, upper + 0.01, 0.008) * opening * np.clip((0.8 - np.abs(t)) / 0.15, 0, 1)
    lines = 1 - 0.14 * np.exp(-((((t * 6) % 1.0 - 0.5) / 0.07) ** 2))
    mix(colour, np.array((0.90, 0.87, 0.80), np.float32) * lines[..., None], teeth * 0.95)
