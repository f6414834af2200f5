"""The second look of YuNet.

YuNet tells the rotation of a face in the plane too small, by about half, and places the landmarks of small
and of large faces differently. In a picture in which the face is nearly upright and always equally large,
both errors are small.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facekd.geometry import Pixels, warp
from facekd.preprocess.detectors._second_look import MIRRORED, Points, in_the_photo, second_look
from facekd.preprocess.types import Face

#: the side of the picture, in whose middle the template of 112 pixels lies
_SIDE = 224
_LOOKS = 2

#: the mean distance of these landmarks from SCRFD 500M's, in pixels of the template
OFFSETS = np.array([[-0.9, -0.7], [-0.1, -0.4], [-0.6, 0.2], [-0.4, 0.0], [-0.7, 0.3]])

Detect = Callable[[Pixels], list[Face]]


def refined(detect: Detect, pixels: Pixels, landmarks: NDArray) -> NDArray[np.float32]:
    """The ``landmarks`` [5, 2] of a face in the uint8 RGB photo [H, W, 3] after two looks by ``detect``."""
    return second_look([partial(_seen, detect, pixels)] * _LOOKS, landmarks, OFFSETS)


def _seen(detect: Detect, pixels: Pixels, aligned: Points) -> Points | None:
    """The mean landmarks of the face that ``aligned`` takes to the template, in a picture of it and in the
    same mirrored."""
    matrix = aligned.copy()
    matrix[:, 2] += (_SIDE - 112) / 2
    upright = warp(pixels, matrix, _SIDE)
    places = []
    for mirrored in (False, True):
        picture = np.ascontiguousarray(upright[:, ::-1]) if mirrored else upright
        near = [face for face in detect(picture) if _in_the_middle(face)]
        if not near:
            continue
        points = max(near, key=lambda face: face.area).landmarks.astype(np.float64)
        if mirrored:
            points = points[MIRRORED]
            points[:, 0] = _SIDE - 1 - points[:, 0]
        places.append(points)
    return in_the_photo(np.mean(places, axis=0), matrix) if places else None


def _in_the_middle(face: Face) -> bool:
    return bool((np.abs(face.landmarks.mean(axis=0) - _SIDE / 2) < _SIDE / 8).all())
