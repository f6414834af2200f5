"""A photo of a synthetic person: geometry, paint and light combined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from facekd.samples import hair as hairdo
from facekd.samples import head as head_grid
from facekd.samples import skin as skin_paint
from facekd.samples.arrays import Floats
from facekd.samples.backdrop import backdrop, clothes
from facekd.samples.camera import normals, project, turn, unit
from facekd.samples.capture import Capture, capture
from facekd.samples.features import mouth_stretch, paint_features
from facekd.samples.glasses import draw_glasses
from facekd.samples.identity import Person
from facekd.samples.layout import Layout, layout
from facekd.samples.light import highlight_on_strands, hollows, linear, shade, shadows
from facekd.samples.paint import enlarge, mix
from facekd.samples.raster import Seen, rasterise

Pixels = NDArray[np.uint8]

#: photos are rendered this much larger and reduced, so that edges are smooth
_OVERSIZE = 1.4


@dataclass(frozen=True)
class _Model:
    """What is the same in every photo of a person."""

    where: Layout
    canvas: tuple[Floats, Floats, Floats]
    skin: Floats
    head: head_grid.Head
    hair: hairdo.Hair
    shoulders: Floats
    clothes: Floats


@lru_cache(maxsize=2)
def _model(person: Person) -> _Model:
    where = layout(person)
    canvas = skin_paint.canvas(person)
    torso = head_grid.shoulders(person)
    return _Model(
        where=where,
        canvas=canvas,
        skin=skin_paint.paint_skin(person, where, *canvas),
        head=head_grid.head(person, where),
        hair=hairdo.grow(person, where),
        shoulders=torso,
        clothes=clothes(person, torso),
    )


def draw(person: Person, photo: int, size: int = 200) -> Pixels:
    """Photo number ``photo`` of ``person``: uint8 RGB [size, size, 3], before compression.

    The same arguments give the same pixels in every process of one machine.
    """
    import cv2

    model, taken = _model(person), capture(person.seed, photo)
    large = round(size * _OVERSIZE)
    light = enlarge(_render(person, model, taken, large), (size, size), cv2.INTER_AREA)
    return _develop(light, taken)


def landmarks(person: Person, photo: int, size: int = 200) -> Floats:
    """The true positions of the centres of the eyes, the tip of the nose and the corners of the mouth:
    float32 [5, 2], x and y in pixels, in the order that detectors use (left in the image first)."""
    model, taken = _model(person), capture(person.seed, photo)
    where = model.where
    corner = where.mouth_half * mouth_stretch(taken)
    places = (
        (-where.eye_x, where.eye_y), (where.eye_x, where.eye_y), (0.0, where.nose_y + 0.055),
        (-corner, where.mouth_y), (corner, where.mouth_y),
    )  # fmt: skip
    at_rest, moved = model.head.points, model.head.with_expression(taken)
    rest = head_grid.skull(person)
    chosen = [
        np.argmin((rest[..., 0] - x) ** 2 + (rest[..., 1] - y) ** 2 + 9 * (at_rest[..., 2] < 0))
        for x, y in places
    ]
    points = project(turn(moved.reshape(-1, 3)[chosen], taken), taken, size)[:, :2]
    # pixels are counted from their centres, which move when the picture is reduced
    return points - np.float32((1 - 1 / _OVERSIZE) / 2)


def _render(person: Person, model: _Model, taken: Capture, size: int) -> Floats:
    """Linear light [size, size, 3]."""
    head = turn(model.head.with_expression(taken), taken)
    torso = turn(model.shoulders, taken, 0.35)
    hair = turn(model.hair.points, taken)
    on_head = rasterise(project(head[::2, ::2], taken, size), size)
    on_torso = rasterise(project(torso, taken, size), size)
    on_hair = rasterise(project(hair, taken, size), size, model.hair.grows)

    depth = _behind(taken, size)
    on_torso, depth = _uncovered(on_torso, depth)
    on_head, depth = _uncovered(on_head, depth)
    head_depth = depth
    on_hair, _ = _uncovered(on_hair, depth)
    alpha = on_hair.read(model.hair.alpha)
    _, depth = _uncovered(on_hair.part(alpha > 0.5), depth)
    lit, hollow = shadows(depth, taken).ravel(), hollows(depth).ravel()

    light = linear(backdrop(taken, size)).reshape(-1, 3)
    at = on_torso.pixel
    light[at] = shade(on_torso.read(model.clothes), _normal(torso, on_torso), lit[at], hollow[at], taken)
    at = on_head.pixel
    colour = model.skin.copy()
    paint_features(person, model.where, taken, colour, *model.canvas)
    light[at] = shade(on_head.read(colour), _normal(head, on_head), lit[at], hollow[at], taken, gloss=0.07)
    if person.glasses != "none" and taken.wears_glasses:
        draw_glasses(light.reshape(size, size, 3), person, model.where, taken, head_depth)
    at = on_hair.pixel
    strands = _hair_light(person, model.hair, hair, on_hair, lit[at], hollow[at], taken)
    under = light[at]
    mix(under, strands, alpha)
    light[at] = under
    return light.reshape(size, size, 3)


def _behind(taken: Capture, size: int) -> Floats:
    """The depth map of the background, well behind the head."""
    return np.full((size, size), -1.5 * taken.scale * size / 2, np.float32)


def _uncovered(seen: Seen, depth: Floats) -> tuple[Seen, Floats]:
    """The part of a surface in front of ``depth``, and the depth map with it."""
    seen = seen.part(seen.depth > depth.ravel()[seen.pixel])
    return seen, np.maximum(depth, seen.depths(len(depth)))


def _hair_light(
    person: Person,
    hair: hairdo.Hair,
    points: Floats,
    seen: Seen,
    lit: Floats,
    hollow: Floats,
    taken: Capture,
) -> Floats:
    along = unit(np.gradient(points, axis=0))
    tint = seen.read(hair.tint)[:, None]
    normal = _normal(points, seen)
    # both sides of hair are visible; the visible one faces the camera
    normal *= np.where(normal[:, 2] < 0, np.float32(-1), np.float32(1))[:, None]
    colour = np.clip(np.asarray(person.hair_colour, np.float32) * tint, 0.005, 1)
    light = shade(colour, normal, lit, hollow, taken)
    shine = highlight_on_strands(seen.read(along), taken) * lit * np.float32(0.10 * taken.key)
    return light + shine[:, None] * tint * (0.3 + 0.7 * colour)


def _normal(points: Floats, seen: Seen) -> Floats:
    return unit(seen.read(normals(points)))


def _develop(light: Floats, taken: Capture) -> Pixels:
    """Exposure, the lens's blur, the sensor's noise; linear light to sRGB bytes."""
    import cv2

    rng = np.random.default_rng([*taken.seed, 0xDE7])
    picture = np.maximum(light * np.float32(taken.exposure), 0)
    picture = np.sqrt(1.2 * picture / (1 + 0.25 * picture))
    blur = taken.blur * light.shape[0] / 200
    if blur > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * taken.noise
    return (np.clip(picture + grain, 0, 1) * 255 + 0.5).astype(np.uint8)
