"""The parts painted on a head that do not change: skin, brows, beard, moles."""

from __future__ import annotations

import numpy as np

from facekd.samples.arrays import Floats
from facekd.samples.head import bump, skull, step
from facekd.samples.identity import Person
from facekd.samples.layout import Layout
from facekd.samples.paint import clouds, mix, soft_band

#: texels of the head's paint
ROWS, COLUMNS = 416, 416


def canvas(p: Person) -> tuple[Floats, Floats, Floats]:
    """For every texel the frontal place it shows: x, y and z, [ROWS, COLUMNS] each."""
    base = skull(p, ROWS, COLUMNS)
    return base[..., 0].copy(), base[..., 1].copy(), base[..., 2].copy()


def paint_skin(p: Person, where: Layout, x: Floats, y: Floats, z: Floats) -> Floats:
    """sRGB [ROWS, COLUMNS, 3] of the head without eyes and lips."""
    rng = np.random.default_rng([p.seed, 0x5C1])
    side = np.abs(x)
    face = (z > -0.05).astype(np.float32)
    colour = np.broadcast_to(np.asarray(p.skin, np.float32), (*x.shape, 3)).copy()
    blotches = 0.6 * clouds(rng, x.shape, (14, 14)) + 0.4 * clouds(rng, x.shape, (50, 50))
    pores = clouds(rng, x.shape, (220, 220))
    colour *= (1 + 0.020 * blotches + (0.008 + 0.014 * p.age) * pores)[..., None]
    _flush(p, where, colour, side, y, face)
    _shadows(p, where, colour, side, y, face)
    if p.freckles:
        spots = np.clip(clouds(rng, x.shape, (110, 130)) - 1.1, 0, 1) * p.freckles
        spots *= bump(side, y, (0.2, -0.15), 0.3, 0.2) * face
        mix(colour, _shade_of(p, 0.62, 0.62, 0.62), np.clip(spots, 0, 0.8))
    _wrinkles(p, where, colour, x, y, face)
    for across, up, radius in p.moles:
        spot = step(np.hypot(x - across, y - up), radius * 1.2, radius * 0.6) * face
        mix(colour, _shade_of(p, 0.42, 0.42, 0.42), spot * 0.85)
    _facial_hair(p, where, colour, x, y, face, rng)
    _brows(p, where, colour, x, y, face, rng)
    return colour


def _flush(p: Person, where: Layout, colour: Floats, side: Floats, y: Floats, face: Floats) -> None:
    """Blood shows on cheeks, nose, chin and ears."""
    red = bump(side, y, (0.38, -0.25), 0.15, 0.13) + 0.8 * bump(side, y, (0, where.nose_y + 0.05), 0.1, 0.08)
    red += 0.4 * bump(side, y, (0, -0.88), 0.15, 0.08)
    amount = red * face * (0.04 + 0.05 * p.redness)
    colour[..., 0] *= 1 + 0.3 * amount
    colour[..., 1] *= 1 - 0.9 * amount
    colour[..., 2] *= 1 - 0.8 * amount


def _shadows(p: Person, where: Layout, colour: Floats, side: Floats, y: Floats, face: Floats) -> None:
    """Darker skin around the eyes; nostrils."""
    eye = (where.eye_x, where.eye_y)
    around = 0.20 * bump(side, y, (eye[0] - 0.03, eye[1] - 0.075), 0.10, 0.035) * (0.5 + p.age)
    around += 0.16 * bump(side, y, (eye[0], eye[1] + 0.05), 0.13, 0.05)
    around += 0.22 * bump(side, y, (eye[0] - where.eye_half - 0.02, eye[1]), 0.035, 0.06)
    mix(colour, _shade_of(p, 0.55, 0.45, 0.45), around * face)
    hole = bump(side, y, (where.nose_half * 0.50, where.nose_y - 0.022), where.nose_half * 0.20, 0.017)
    mix(colour, _shade_of(p, 0.22, 0.22, 0.22), np.clip(1.3 * hole, 0, 0.85) * face)
    half = where.nose_half
    wing = np.hypot((side - half * 0.62) / (half * 0.44), (y - where.nose_y - 0.03) / 0.062)
    crease = np.exp(-(((wing - 1) / 0.13) ** 2)) * step(side, half * 0.55, half * 0.9)
    mix(colour, _shade_of(p, 0.5, 0.5, 0.5), 0.5 * crease * face)


def _wrinkles(p: Person, where: Layout, colour: Floats, x: Floats, y: Floats, face: Floats) -> None:
    side = np.abs(x)
    fold_x = np.interp(
        y, [where.mouth_y - 0.05, where.nose_y + 0.06], [where.mouth_half + 0.085, where.nose_half + 0.01]
    )
    fold = np.exp(-(((side - fold_x) / 0.013) ** 2))
    fold = fold * soft_band(y, where.mouth_y - 0.02, where.nose_y + 0.04, 0.08)
    depth = 0.03 + 0.30 * p.age**1.5
    lines = depth * fold
    if p.age > 0.35:
        for number in range(3):
            at = where.brow_y + 0.13 + 0.085 * number + 0.012 * np.cos(9 * x + number)
            lines = lines + (p.age - 0.35) * 0.5 * np.exp(-(((y - at) / 0.009) ** 2)) * step(side, 0.42, 0.2)
        for number in (-1, 0, 1):
            slope = (side - where.eye_x - where.eye_half - 0.03) * 0.35 * number
            ray = np.exp(-(((y - where.eye_y - slope - 0.02 * number) / 0.007) ** 2))
            start = where.eye_x + where.eye_half + 0.02
            lines = lines + (p.age - 0.35) * 0.6 * ray * soft_band(side, start, start + 0.1, 0.03)
    mix(colour, _shade_of(p, 0.45, 0.45, 0.45), np.clip(lines, 0, 0.6) * face)


def _facial_hair(
    p: Person, where: Layout, colour: Floats, x: Floats, y: Floats, face: Floats, rng: np.random.Generator
) -> None:
    if not (p.beard or p.moustache or p.stubble):
        return
    side = np.abs(x)
    cheek_line = np.interp(side, [0, 0.25, 0.45, 0.62, 0.7], [-0.76, -0.62, -0.52, -0.1, 0.1])
    jaw = step(y, cheek_line + 0.05, cheek_line - 0.06)
    mouth = bump(side, y, (0, where.mouth_y - 0.02), where.mouth_half * 0.75, where.lower_lip + 0.02)
    jaw = jaw * (1 - mouth)
    out = side / where.mouth_half
    lip_top = where.mouth_y + where.upper_lip * (0.9 - 0.6 * out**2) - 0.05 * step(out, 0.8, 1.15)
    over_lip = soft_band(y, lip_top, where.nose_y - 0.04 - 0.075 * out**2, 0.03)
    over_lip = over_lip * step(out, 1.22, 0.98)
    strands = 0.75 + 0.25 * clouds(rng, x.shape, (130, 220))
    hair = np.maximum(p.beard * jaw, p.moustache * over_lip) * np.clip(strands, 0.3, 1) * 0.95
    dark = tuple(0.85 * c for c in p.hair_colour)
    mix(colour, dark, np.clip(hair, 0, 1) * face)
    grains = np.clip(0.8 + 0.4 * clouds(rng, x.shape, (220, 260)), 0, 1.4)
    shadow = np.clip(p.stubble * 0.30 * np.maximum(jaw, over_lip) * grains, 0, 1)
    mix(colour, tuple(0.5 * h + 0.25 * s for h, s in zip(dark, p.skin, strict=True)), shadow * face)


def _brows(
    p: Person, where: Layout, colour: Floats, x: Floats, y: Floats, face: Floats, rng: np.random.Generator
) -> None:
    side = np.abs(x)
    t = np.clip((side - where.brow_inner) / (where.brow_outer - where.brow_inner), 0, 1)
    arch = (0.022 + 0.014 * p.brow_arch) * np.sin(np.pi * t**1.3) * 1.4
    middle = where.brow_y + arch + (0.012 + 0.022 * p.brow_tilt) * (t - 0.4) - 0.02 * t**3
    middle = middle + 0.006 * p.asymmetry * np.sign(x)
    thick = max(0.010, 0.024 + 0.0065 * p.brow_thickness) * (1 - 0.75 * t**2.5) * (0.75 + 0.5 * t * (1 - t))
    inside = np.clip(1.6 - np.abs(y - middle) / thick, 0, 1)
    ends = soft_band(side, where.brow_inner, where.brow_outer, 0.035)
    strands = np.clip(0.85 + 0.3 * clouds(rng, x.shape, (90, 260)), 0.3, 1)
    alpha = inside * ends * strands * (0.5 + 0.5 * p.brow_density)
    mix(colour, tuple(0.75 * c + 0.02 for c in p.hair_colour), np.clip(alpha, 0, 0.95) * face)


def _shade_of(p: Person, red: float, green: float, blue: float) -> tuple[float, float, float]:
    return p.skin[0] * red, p.skin[1] * green, p.skin[2] * blue
