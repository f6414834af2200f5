"""The values that preprocessing returns: photos, faces and crops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.geometry import Pixels


@dataclass(frozen=True)
class Photo:
    """A decoded image file: ``pixels`` uint8 RGB [H, W, 3], upright (EXIF applied)."""

    path: str
    pixels: Pixels
    sha256: str


@dataclass(frozen=True)
class Face:
    """One detection. ``box`` float32 [4] is x1, y1, x2, y2; ``landmarks`` float32 [5, 2] are eye,
    eye, nose, mouth corner, mouth corner, left in the image first. All in pixels of the photo.

    ``quarters`` is the number of rotations of the photo to the left by 90 degrees with which the face was
    found; "left in the image" then refers to the rotated photo. ``turned`` is the further rotation in degrees
    clockwise with which its landmarks were found. They are ``doubtful`` if the face is rotated too far for
    the detector and was not found upright.
    """

    box: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32]
    quarters: int = 0
    turned: float = 0.0
    doubtful: bool = False

    @property
    def area(self) -> float:
        """The area of the box in square pixels."""
        return float(max(0.0, self.box[2] - self.box[0]) * max(0.0, self.box[3] - self.box[1]))

    def moved(self, scale: float, shift: tuple[float, float] = (0.0, 0.0)) -> Face:
        """The same face in a scaled and shifted photo: every point times ``scale``, plus ``shift`` (x, y)."""
        import numpy as np

        offset = np.asarray(shift, np.float32)
        return replace(
            self,
            box=(self.box * np.float32(scale) + np.tile(offset, 2)).astype(np.float32),
            landmarks=(self.landmarks * np.float32(scale) + offset).astype(np.float32),
        )


@dataclass(frozen=True)
class Crop:
    """An aligned face: ``pixels`` uint8 RGB [S, S, 3]; ``quality`` in [0, 1]."""

    pixels: Pixels
    face: Face
    photo: Photo
    quality: float


class Detector(Protocol):
    """Finds faces. ``name`` identifies it in cards and reports.

    A detector that also finds faces upside down, and gives them the landmarks of upright ones, has a
    number ``sure``: the score below which a face may be upside down. ``clearly`` states how much better a
    rotated photo must score, as a fraction of the log-odds of ``sure``. If the score is not sufficient,
    ``mouth`` is the weight of the mouth's height in the box, which is added to the log-odds, and ``stands``
    the sum below which a face is also tried upside down.

    A detector whose landmarks get worse for faces rotated in the plane has a number ``level``: the degrees,
    by its own landmarks, up to which they are good. One that can place the landmarks of a face better than
    ``detect`` has a method ``refine(pixels, face)``, which returns the face with better ones.
    """

    @property
    def name(self) -> str: ...

    def detect(self, pixels: Pixels) -> list[Face]:
        """All faces in uint8 RGB [H, W, 3], best score first; an empty list if there are none."""
        ...
