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
    import cv2

    height, width = pixels.shape[:2]
    scale = LOOK_AT / max(height, width)
    if scale >= 1:
        return detector.detect(pixels)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    copy: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return [face.moved(1 / scale) for face in detector.detect(copy)]


def _look_padded(pixels: Pixels, detector: Detector) -> list[Face]:
    import cv2

    border = round(PADDING * max(pixels.shape[:2]))
    padded: Pixels = cv2.copyMakeBorder(  # type: ignore[assignment]
        pixels, border, border, border, border, cv2.BORDER_CONSTANT
    )
    return [face.moved(1, (-border, -border)) for face in _look(padded, detector)]
