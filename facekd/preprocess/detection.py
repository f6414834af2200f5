"""Photo to faces: at which size to look, and what to try when nothing is found."""

from __future__ import annotations

import math

import numpy as np

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import TooSmall
from facekd.geometry import Pixels, similarity, turned_left
from facekd.preprocess.types import Detector, Face, Photo

#: longer side, in pixels, of the copy that detectors look at
LOOK_AT = 1280


#: black border of the second look, as a fraction of the longer side: faces that fill the photo
#: are found with room around them
PADDING = 0.4


#: degrees in the plane that detectors still place landmarks at well enough; of 8,120 LFW photos the main
#: face of none is turned by more than 44
MOST_TURNED = 50.0
#: by how much the log-odds of the best score must be higher in the turned photo for it to be believed, as a
#: part of those at which the detector is sure: their scales differ widely. Of a detector that does not say
_CLEARLY = 1 / 4


def find_faces(photo: Photo, detector: Detector) -> list[Face]:
    """All faces of ``photo`` in its own pixels, best score first; looks again with a border
    around the photo when there is none.

    Where there is still none, or the largest face lies on its side or all may be upside down (their scores
    are below the detector's ``sure``), the photo is turned by right angles: many cameras do not note how they
    were held. Faces found that way are taken where they are upright in the turned photo and score higher
    than upright ones in the photo as it is.
    """
    found = _look(photo.pixels, detector) or _look_padded(photo.pixels, detector)
    if found and not is_turned(_largest(found)) and _best_score(found) >= _sure(detector):
        return found
    return _look_turned(photo.pixels, detector, found)


def angle_of(face: Face) -> float:
    """Degrees in [-180, 180) by which a face is turned in the photo, or in the turned photo in which it was
    found; `nan` where its landmarks coincide."""
    try:
        matrix = similarity(face.landmarks, np.asarray(ARCFACE_TEMPLATE))
    except TooSmall:
        return math.nan
    turned = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])) + 90 * face.quarters
    return (turned + 180) % 360 - 180


def is_turned(face: Face) -> bool:
    """Whether a face lies on its side as it was found."""
    return abs(angle_of(face)) > MOST_TURNED


def _sure(detector: Detector) -> float:
    return float(getattr(detector, "sure", 0.0))


def _best_score(faces: list[Face]) -> float:
    """Of those that do not lie on their side."""
    return max((face.score for face in faces if not is_turned(face)), default=0.0)


def _largest(faces: list[Face]) -> Face:
    return max(faces, key=lambda face: face.area)


def _look_turned(pixels: Pixels, detector: Detector, upright: list[Face]) -> list[Face]:
    """The faces of whichever quarter turn shows the best one, or ``upright`` if no turn is better."""
    copy, scale = _reduced(pixels, LOOK_AT)
    best, odds = upright, -math.inf
    if upright and not is_turned(_largest(upright)):
        clearly = float(getattr(detector, "clearly", _CLEARLY))
        odds = _log_odds(_best_score(upright)) + clearly * abs(_log_odds(_sure(detector)))
    for quarters in (1, 2, 3):
        found = detector.detect(np.ascontiguousarray(np.rot90(copy, quarters)))
        if found and not is_turned(_largest(found)) and _log_odds(_best_score(found)) > odds:
            shape = np.rot90(pixels, quarters).shape
            best = [_turned_back(face.moved(1 / scale), quarters, shape) for face in found]
            odds = _log_odds(_best_score(found))
    return best


def _log_odds(score: float) -> float:
    score = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score))


def _turned_back(face: Face, quarters: int, shape: tuple[int, ...]) -> Face:
    """``face``, found in a photo turned left ``quarters`` times to ``shape``, in the photo itself."""
    landmarks = turned_left(face.landmarks, 4 - quarters, shape).astype(np.float32)
    box = turned_left(face.box.reshape(2, 2), 4 - quarters, shape, pixels=False)
    corners = np.concatenate([box.min(axis=0), box.max(axis=0)]).astype(np.float32)
    return Face(corners, face.score, landmarks, quarters)


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
