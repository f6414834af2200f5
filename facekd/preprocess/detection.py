"""Photo to faces: at which size to look, and what to try when nothing is found."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from facekd.geometry import Pixels, turned_left
from facekd.preprocess.turned_faces import (
    is_turned,
    may_be_upside_down,
    seen_level,
    seen_upside_down,
    standing,
)
from facekd.preprocess.types import Detector, Face, Photo

#: longer side, in pixels, of the copy that detectors look at
LOOK_AT = 1280


#: black border of the second look, as a fraction of the longer side: faces that fill the photo
#: are found with room around them
PADDING = 0.4


#: by how much the log-odds of the best score must be higher in the turned photo for it to be believed, as a
#: part of those at which the detector is sure: their scales differ widely. Of a detector that does not say
_CLEARLY = 1 / 4


def find_faces(photo: Photo, detector: Detector) -> list[Face]:
    """All faces of ``photo`` in its own pixels, best score first; looks again with a border
    around the photo when there is none.

    Where there is still none, or the largest face is turned in the plane or all may be upside down (their
    scores are below the detector's ``sure``), the photo is turned by right angles: many cameras do not note
    how they were held. Faces found that way are taken where they are upright in the turned photo and score
    higher than upright ones in the photo as it is. Whatever the way, a face turned further than the
    detector's ``level`` is seen again in its surroundings turned upright (`seen_level`).
    """
    pixels = photo.pixels
    seen = _look(pixels, detector) or _look_padded(pixels, detector)
    found = [seen_level(pixels, face, detector) for face in seen]
    if found and _is_upright(pixels, found, detector):
        return found
    return _look_turned(pixels, detector, found)


def _is_upright(pixels: Pixels, found: list[Face], detector: Detector) -> bool:
    """Whether the photo surely is, by the largest face and the best."""
    largest = _largest(found)
    if is_turned(largest) or max(face.score for face in found if not is_turned(face)) < _sure(detector):
        return False
    if not may_be_upside_down(largest, detector):
        return True
    down = seen_upside_down(pixels, largest, detector)
    return down is None or standing(down, detector) <= standing(largest, detector)


def _sure(detector: Detector) -> float:
    return float(getattr(detector, "sure", 0.0))


def _best(found: list[Face], detector: Detector) -> float:
    """The highest `standing` of those that do not lie on their side."""
    return max((standing(face, detector) for face in found if not is_turned(face)), default=-math.inf)


def _largest(faces: list[Face]) -> Face:
    return max(faces, key=lambda face: face.area)


def _look_turned(pixels: Pixels, detector: Detector, upright: list[Face]) -> list[Face]:
    """The faces of whichever quarter turn shows the best one, or ``upright`` if no turn is better."""
    copy, scale = _reduced(pixels, LOOK_AT)
    best, odds = upright, -math.inf
    if upright and not is_turned(_largest(upright)):
        clearly = float(getattr(detector, "clearly", _CLEARLY))
        sure = _sure(detector)
        odds = _best(upright, detector) + clearly * (abs(math.log(sure / (1 - sure))) if sure else 0.0)
    for quarters in (1, 2, 3):
        shape = np.rot90(pixels, quarters).shape
        seen = detector.detect(np.ascontiguousarray(np.rot90(copy, quarters)))
        back = [_turned_back(face.moved(1 / scale), quarters, shape) for face in seen]
        found = [seen_level(pixels, face, detector) for face in back]
        if found and not is_turned(_largest(found)) and _best(found, detector) > odds:
            best, odds = found, _best(found, detector)
    return best


def _turned_back(face: Face, quarters: int, shape: tuple[int, ...]) -> Face:
    """``face``, found in a photo turned left ``quarters`` times to ``shape``, in the photo itself."""
    landmarks = turned_left(face.landmarks, 4 - quarters, shape).astype(np.float32)
    box = turned_left(face.box.reshape(2, 2), 4 - quarters, shape, pixels=False)
    corners = np.concatenate([box.min(axis=0), box.max(axis=0)]).astype(np.float32)
    return replace(face, box=corners, landmarks=landmarks, quarters=quarters)


def _look(pixels: Pixels, detector: Detector) -> list[Face]:
    copy, scale = _reduced(pixels, LOOK_AT)
    faces = detector.detect(copy)
    return faces if scale == 1 else [face.moved(1 / scale) for face in faces]


def _look_padded(pixels: Pixels, detector: Detector) -> list[Face]:
    import cv2

    # reduced first: the border of a long photo would take far more than the photo
    copy, scale = _reduced(pixels, LOOK_AT / (1 + 2 * PADDING))
    border = round(PADDING * max(copy.shape[:2]))
    padded: Pixels = cv2.copyMakeBorder(  # type: ignore[assignment]
        copy, border, border, border, border, cv2.BORDER_CONSTANT
    )
    shift = (-border / scale, -border / scale)
    return [face.moved(1 / scale, shift) for face in detector.detect(padded)]


def _reduced(pixels: Pixels, longer_side: float) -> tuple[Pixels, float]:
    """``pixels`` with a longer side of at most so many pixels, and by how much it was scaled."""
    import cv2

    height, width = pixels.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return pixels, 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), scale  # type: ignore[return-value]
