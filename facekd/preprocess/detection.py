"""Photo to faces: at which size to look, and what to try when nothing is found."""

from __future__ import annotations

from facekd.geometry import Pixels
from facekd.preprocess.types import Detector, Face, Photo

#: longer side, in pixels, of the copy that detectors look at
LOOK_AT = 1280


#: black border of the second look, as a fraction of the longer side: faces that fill the photo
#: are found with room around them
PADDING = 0.4


def find_faces(photo: Photo, detector: Detector) -> list[Face]:
    """All faces of ``photo`` in its own pixels, best score first; looks again with a border
    around the photo when there is none."""
    return _look(photo.pixels, detector) or _look_padded(photo.pixels, detector)


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
