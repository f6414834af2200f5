"""What preprocessing hands on: photos, faces and crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """A decoded image file: ``pixels`` uint8 RGB [H, W, 3], upright (EXIF applied)."""

    path: str
    pixels: Pixels
    sha256: str


@dataclass(frozen=True)
class Face:
    """One detection. ``box`` float32 [4] is x1, y1, x2, y2; ``landmarks`` float32 [5, 2] are eye,
    eye, nose, mouth corner, mouth corner, left in the image first. All in pixels of the photo."""

    box: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32]


@dataclass(frozen=True)
class Crop:
    """An aligned face: ``pixels`` uint8 RGB [S, S, 3]; ``quality`` in [0, 1]."""

    pixels: Pixels
    face: Face
    photo: Photo
    quality: float


class Detector(Protocol):
    """Finds faces. ``name`` is what cards and reports state."""

    @property
    def name(self) -> str: ...

    def detect(self, pixels: Pixels) -> list[Face]:
        """All faces in uint8 RGB [H, W, 3], best score first; an empty list when there are none."""
        ...
