"""Faces rotated in the plane: by how much, and their landmarks after rotating their surroundings upright."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import TooSmall
from facekd.geometry import Pixels, similarity, warp
from facekd.preprocess.types import Detector, Face

#: degrees in the plane up to which detectors place landmarks well enough; in 8,120 LFW photos, no main face
#: is rotated by more than 44
MOST_TURNED = 50.0

#: degrees above which a rotation by 90 degrees brings a face nearer to upright, allowing for detection errors
_ON_ITS_SIDE = 65.0
#: pixels: the side of the picture in which a face is detected again, and the longer side of its box in it
_SIDE, _BOX = 224, 96
#: the same for the attempt that only decides which way up the face is
_QUICK = (128, 64)
#: rotations towards upright of one face: a detector that underestimates the angle needs several
_STEPS = 5


def angle_of(face: Face) -> float:
    """Degrees in [-180, 180) by which a face is rotated in the photo, or in the rotated photo in which it was
    found; `nan` if its landmarks coincide."""
    return _folded(_roll(face) - face.turned + 90 * face.quarters)


def is_turned(face: Face) -> bool:
    """Whether a face lies on its side as it was found, or is rotated too far for its detector."""
    return face.doubtful or abs(angle_of(face)) > MOST_TURNED


def seen_level(pixels: Pixels, face: Face, detector: Detector) -> Face:
    """``face`` with the landmarks found after rotating its surroundings upright. It is `doubtful` if it is
    not found there, or if those landmarks show that it lay on its side when it was found. A face that is
    level, or nearer to lying on its side, is returned unchanged."""
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
    """Whether ``face`` lay on its side when it was found, by the landmarks of ``again``. Its first landmarks
    were wrong then: its `quarters` would rotate it away from upright, and another rotation shows it
    better."""
    return abs(_folded(_roll(again) + 90 * face.quarters)) > _ON_ITS_SIDE


def seen_upside_down(pixels: Pixels, face: Face, detector: Detector) -> Face | None:
    """``face`` as detected in its surroundings rotated by 180 degrees from how it was found; `None` if it is
    not detected there."""
    return _seen_turned(pixels, face, face.turned - 90.0 * face.quarters + 180, detector, *_QUICK)


def _seen_turned(
    pixels: Pixels, face: Face, degrees: float, detector: Detector, side: int = _SIDE, box: int = _BOX
) -> Face | None:
    """``face`` as detected in its surroundings rotated clockwise by ``degrees``, with its landmarks in the
    photo and its original box; `None` if it is not detected there."""
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
    """The transform [2, 3] that rotates the photo about the middle of the face's box, and moves that to the
    middle of the picture."""
    corner, opposite = face.box[:2].astype(np.float64), face.box[2:].astype(np.float64)
    scale = box / max(1.0, *(opposite - corner))
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, side / 2 - turn @ ((corner + opposite) / 2)])


def _off_middle(seen: Face, side: int) -> float:
    return float(np.abs((seen.box[:2] + seen.box[2:]) / 2 - side / 2).max())


def _roll(face: Face) -> float:
    """Degrees clockwise that would make its landmarks upright; `nan` if they coincide."""
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
    """Whether its `standing` is one that the detector also gives to faces upside down, or its landmarks come
    from rotated surroundings."""
    return face.turned != 0 or standing(face, detector) < float(getattr(detector, "stands", -math.inf))


def standing(face: Face, detector: Detector) -> float:
    """How certainly a face is upright as found, for comparing rotations of a photo: the log-odds of its score
    and, weighted by the detector's ``mouth``, how far down in its box the mouth is."""
    score = min(max(face.score, 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score)) + float(getattr(detector, "mouth", 0.0)) * _mouth_height(face)


def _mouth_height(face: Face) -> float:
    """The height of the middle of the mouth, from the top of the box (0) to the bottom (1), of an upright
    face."""
    degrees = math.radians(face.turned - 90 * face.quarters)
    down = np.array([math.sin(degrees), math.cos(degrees)])
    width, height = (float(side) for side in face.box[2:] - face.box[:2])
    off = face.landmarks[3:].mean(axis=0) - (face.box[:2] + face.box[2:]) / 2
    return 0.5 + float(off @ down) / max(1.0, width if face.quarters % 2 else height)
