"""Face to crop. One aligner for training, evaluation and verification.

The five landmarks are mapped onto the template of the crop spec; see `facekd.geometry`.
"""

from __future__ import annotations

import numpy as np

from facekd.card import BoxCrop, CropSpec
from facekd.geometry import Pixels, cut_box, similarity, turned_left, warp
from facekd.preprocess.types import Face

#: name and version of this aligner, for cards and reports; it must change with the pixels of the crops
ALIGNER = "facekd-five-points-2"


def cut(pixels: Pixels, face: Face, spec: CropSpec) -> Pixels:
    """The crop [S, S, 3] of ``face`` for ``spec``, from the uint8 RGB pixels [H, W, 3] of its photo.

    Raises `TooSmall` if the landmarks or the box have no extent.
    """
    if isinstance(spec, BoxCrop):
        box = turned_left(face.box.reshape(2, 2), face.quarters, pixels.shape, pixels=False)
        corners = np.concatenate([box.min(axis=0), box.max(axis=0)])
        return cut_box(np.rot90(pixels, face.quarters), corners, spec)
    return warp(pixels, similarity(face.landmarks, spec.template), spec.size)
