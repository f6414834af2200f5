"""Glasses: rims and temples as lines in space, drawn where the head does not hide them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facekd.samples.arrays import Floats
from facekd.samples.camera import project, turn
from facekd.samples.capture import Capture
from facekd.samples.identity import Person
from facekd.samples.layout import Layout
from facekd.samples.light import linear
from facekd.samples.paint import mix

#: sub-pixel bits of OpenCV's line coordinates
_BITS = 4
#: the distance of the bridge before the head's centre, in head units
_FRONT = 0.87


def draw_glasses(light: Floats, p: Person, where: Layout, taken: Capture, depth: Floats) -> None:
    """Draw the glasses of ``p`` on ``light`` [S, S, 3] in place; ``depth`` [S, S] is the head's."""
    import cv2

    size = light.shape[0]
    width = max(1, round(size * taken.scale * (0.008 if p.glasses == "thin" else 0.017)))
    ink = np.zeros((size, size), np.uint8)
    for sign in (-1, 1):
        rim = project(turn(_rim(p, where, sign), taken), taken, size)
        lens = np.zeros((size, size), np.uint8)
        cv2.fillPoly(lens, [_fixed(rim)], 255, cv2.LINE_AA, _BITS)
        light *= (1 - 0.08 * (lens / np.float32(255)))[..., None]
        _line(ink, np.concatenate([rim, rim[:1]]), depth, width)
        _line(ink, project(turn(_temple(where, sign), taken), taken, size), depth, width)
    _line(ink, project(turn(_bridge(where), taken), taken, size), depth, width)
    frame = linear(np.asarray(p.glasses_colour, np.float32)) * np.float32(taken.ambient + 0.6 * taken.key)
    mix(light, frame, 0.92 * ink / np.float32(255))


def _rim(p: Person, where: Layout, sign: int) -> Floats:
    turn_ = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    power = {"round": 1.0, "thin": 0.75, "square": 0.55}[p.glasses]
    x = np.sign(np.cos(turn_)) * np.abs(np.cos(turn_)) ** power * (where.eye_half + 0.058)
    y = np.sign(np.sin(turn_)) * np.abs(np.sin(turn_)) ** power * (0.155 if p.glasses == "round" else 0.125)
    across = sign * (where.eye_x + 0.008) + x
    # the frame bends back towards the temples
    return np.stack([across, where.eye_y - 0.012 + y, _FRONT - 0.45 * across**2], -1).astype(np.float32)


def _bridge(where: Layout) -> Floats:
    reach = where.eye_x + 0.008 - where.eye_half - 0.058
    x = np.linspace(-reach, reach, 7)
    y = where.eye_y + 0.03 + 0.03 * np.cos(x / reach * np.pi / 2)
    return np.stack([x, y, _FRONT + 0 * x], -1).astype(np.float32)


def _temple(where: Layout, sign: int) -> Floats:
    outer = where.eye_x + where.eye_half + 0.06
    start = _FRONT - 0.45 * outer**2
    t = np.linspace(0, 1, 14)
    x = sign * (outer + (0.72 - outer) * t**0.6)
    return np.stack([x, where.eye_y + 0.04 + 0 * t, start + (-0.1 - start) * t], -1).astype(np.float32)


def _line(ink: NDArray[np.uint8], points: Floats, depth: Floats, width: int) -> None:
    """Draw a line through ``points``, without the parts behind the head."""
    import cv2

    last = len(depth) - 1
    x, y = (np.clip(np.round(points[:, axis]), 0, last).astype(int) for axis in (0, 1))
    in_sight = points[:, 2] > depth[y, x] - 2.0
    for start in np.flatnonzero(in_sight[:-1] & in_sight[1:]):
        cv2.polylines(ink, [_fixed(points[start : start + 2])], False, 255, width, cv2.LINE_AA, _BITS)


def _fixed(points: Floats) -> NDArray[np.int32]:
    return np.round(points[:, :2] * (1 << _BITS)).astype(np.int32)
