"""Photo to faces: the size at which detectors see a photo, and what to try if they find nothing."""

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

#: longer side, in pixels, of the copy that detectors see
LOOK_AT = 1280


#: black border for the second attempt, as a fraction of the longer side: faces that fill the photo
#: are found with a margin around them
PADDING = 0.4


#: by how much the log-odds of the best score must be higher in the rotated photo for it to be preferred, as a
#: fraction of the detector's log-odds at ``sure``: their scales differ widely. For a detector without its own
_CLEARLY = 1 / 4


def find_faces(photo: Photo, detector: Detector) -> list[Face]:
    """All faces of ``photo`` in its own pixels, best score first. If there are none, the photo is
    searched again with a border around it.

    If there are still none, if the largest face is rotated in the plane, or if all may be upside down (their
    scores are below the detector's ``sure``), the photo is rotated by right angles: many cameras do not
    record how they were held. The faces found there are used if they are upright in the rotated photo and
    score higher than upright faces in the original. In any case, a face rotated by more than the detector's
    ``level`` is detected again in its surroundings, rotated upright (`seen_level`). Last, a detector that can
    ``refine`` its landmarks does so.
    """
    found = _faces(photo.pixels, detector)
    refine = getattr(detector, "refine", None)
    return [refine(photo.pixels, face) for face in found] if refine else found


def _faces(pixels: Pixels, detector: Detector) -> list[Face]:
    seen = _look(pixels, detector) or _look_padded(pixels, detector)
    found = [seen_level(pixels, face, detector) for face in seen]
    if found and _is_upright(pixels, found, detector):
        return found
    return _look_turned(pixels, detector, found)


def _is_upright(pixels: Pixels, found: list[Face], detector: Detector) -> bool:
    """Whether the photo is certainly upright, by its largest and its best face."""
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
    """The highest `standing` among faces that do not lie on their side."""
    return max((standing(face, detector) for face in found if not is_turned(face)), default=-math.inf)


def _largest(faces: list[Face]) -> Face:
    return max(faces, key=lambda face: face.area)


def _look_turned(pixels: Pixels, detector: Detector, upright: list[Face]) -> list[Face]:
    """The faces in the rotation by right angles with the best one, or ``upright`` if none is better."""
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
    """``face``, found in a photo rotated left ``quarters`` times to ``shape``, in the original photo."""
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

    # reduced first: the border of a large photo would take far more memory than the photo
    copy, scale = _reduced(pixels, LOOK_AT / (1 + 2 * PADDING))
    border = round(PADDING * max(copy.shape[:2]))
    padded: Pixels = cv2.copyMakeBorder(  # type: ignore[assignment]
        copy, border, border, border, border, cv2.BORDER_CONSTANT
    )
    shift = (-border / scale, -border / scale)
    return [face.moved(1 / scale, shift) for face in detector.detect(padded)]


def _reduced(pixels: Pixels, longer_side: float) -> tuple[Pixels, float]:
    """``pixels`` with a longer side of at most ``longer_side`` pixels, and the scale."""
    import cv2

    height, width = pixels.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return pixels, 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), scale  # type: ignore[return-value]
