"""Faces turned in the plane: by how much, and where they are once their surroundings are turned upright."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import TooSmall
from facekd.geometry import Pixels, similarity, warp
from facekd.preprocess.types import Detector, Face

#: degrees in the plane that detectors still place landmarks at well enough; of 8,120 LFW photos the main
#: face of none is turned by more than 44
MOST_TURNED = 50.0

#: degrees from which a quarter turn of the photo is nearer, with what detectors err
_ON_ITS_SIDE = 65.0
#: pixels: the side of the picture in which a face is seen again, and the longer side of its box in it
_SIDE, _BOX = 224, 96
#: the same of a look that is only to tell which way up it is
_QUICK = (128, 64)
#: how often a face is turned further upright: detectors that see too small a turn come near step by step
_STEPS = 5


def angle_of(face: Face) -> float:
    """Degrees in [-180, 180) by which a face is turned in the photo, or in the turned photo in which it was
    found; `nan` where its landmarks coincide."""
    return _folded(_roll(face) - face.turned + 90 * face.quarters)


def is_turned(face: Face) -> bool:
    """Whether a face lies on its side as it was found, or is too far turned for its detector."""
    return face.doubtful or abs(angle_of(face)) > MOST_TURNED


def seen_level(pixels: Pixels, face: Face, detector: Detector) -> Face:
    """``face`` with the landmarks that it has in its surroundings turned upright; `doubtful` where it is not
    found there, or by them lay on its side as it was found. One that is level, or nearer to lying on its
    side, is returned as it is."""
    if not _level(detector) < abs(angle_of(face)) <= _ON_ITS_SIDE:
        return face
    degrees, rest = face.turned - 90.0 * face.quarters, angle_of(face)
    best = replace(face, doubtful=True)
    for _ in range(_STEPS):
        degrees += rest
        again = _seen_turned(pixels, face, degrees, detector)
        if again is None:
            break
        rest = angle_of(again)
        nearer = best.doubtful or abs(rest) < abs(angle_of(best))
        if abs(rest) <= _level(detector) and nearer and not _lay_on_its_side(face, again):
            best = again
        if abs(rest) <= _level(detector) / 4:
            break
    return best


def _lay_on_its_side(face: Face, again: Face) -> bool:
    """Whether ``face`` did when it was found, by the landmarks that it has ``again``. Those that it had then
    were wrong; its `quarters` would turn it away from upright, and another quarter turn shows it better."""
    return abs(_folded(_roll(again) + 90 * face.quarters)) > _ON_ITS_SIDE


def seen_upside_down(pixels: Pixels, face: Face, detector: Detector) -> Face | None:
    """``face`` as it is found in its surroundings turned by 180 degrees from how it was found; `None` if it
    is not."""
    return _seen_turned(pixels, face, face.turned - 90.0 * face.quarters + 180, detector, *_QUICK)


def _seen_turned(
    pixels: Pixels, face: Face, degrees: float, detector: Detector, side: int = _SIDE, box: int = _BOX
) -> Face | None:
    """``face`` as it is found in its surroundings turned clockwise by ``degrees``, with its landmarks in the
    photo and its box as it was; `None` if it is not found."""
    matrix = _close_up(face, degrees, side, box)
    looked_at = warp(pixels, matrix, side)
    near = [seen for seen in detector.detect(looked_at) if _off_middle(seen, side) < box / 2]
    if not near:
        return None
    seen = max(near, key=lambda one: one.area)
    landmarks = np.linalg.solve(matrix[:, :2], (seen.landmarks - matrix[:, 2]).T).T
    turned = degrees + 90 * face.quarters
    return replace(face, score=seen.score, landmarks=landmarks.astype(np.float32), turned=turned)


def _close_up(face: Face, degrees: float, side: int, box: int) -> NDArray[np.float64]:
    """The transform [2, 3] that turns the photo about the middle of the face's box, and lays that in the
    middle of the picture."""
    corner, opposite = face.box[:2].astype(np.float64), face.box[2:].astype(np.float64)
    scale = box / max(1.0, *(opposite - corner))
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, side / 2 - turn @ ((corner + opposite) / 2)])


def _off_middle(seen: Face, side: int) -> float:
    return float(np.abs((seen.box[:2] + seen.box[2:]) / 2 - side / 2).max())


def _roll(face: Face) -> float:
    """Degrees clockwise that would lay its landmarks upright; `nan` where they coincide."""
    try:
        matrix = similarity(face.landmarks, np.asarray(ARCFACE_TEMPLATE))
    except TooSmall:
        return math.nan
    return math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def _folded(degrees: float) -> float:
    return (degrees + 180) % 360 - 180


def _level(detector: Detector) -> float:
    return float(getattr(detector, "level", MOST_TURNED))


def may_be_upside_down(face: Face, detector: Detector) -> bool:
    """Whether its `standing` is one that the detector gives faces upside down, too, or its landmarks are
    those of its surroundings turned."""
    return face.turned != 0 or standing(face, detector) < float(getattr(detector, "stands", -math.inf))


def standing(face: Face, detector: Detector) -> float:
    """How surely a face is upright as it was found, to be compared between turns of a photo: the log-odds of
    its score and, by the detector's ``mouth``, how far down in its box the mouth is."""
    score = min(max(face.score, 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score)) + float(getattr(detector, "mouth", 0.0)) * _mouth_height(face)


def _mouth_height(face: Face) -> float:
    """Of the middle of the mouth, from the top of the box (0) to its bottom (1), the face upright."""
    degrees = math.radians(face.turned - 90 * face.quarters)
    down = np.array([math.sin(degrees), math.cos(degrees)])
    width, height = (float(side) for side in face.box[2:] - face.box[:2])
    off = face.landmarks[3:].mean(axis=0) - (face.box[:2] + face.box[2:]) / 2
    return 0.5 + float(off @ down) / max(1.0, width if face.quarters % 2 else height)
