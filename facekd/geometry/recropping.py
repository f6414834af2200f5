"""Convert crops of one spec to another, template to template."""

from __future__ import annotations

import numpy as np

from facekd.card import CropSpec, LandmarkCrop
from facekd.errors import Misfit
from facekd.geometry.pixels import Pixels
from facekd.geometry.transform import similarity
from facekd.geometry.warping import warp


def recrop(crops: Pixels, have: CropSpec, want: CropSpec) -> Pixels:
    """Convert crops [N, S, S, 3] of spec ``have`` to crops [N, S2, S2, 3] of spec ``want``.

    Pixels outside the first crop are black, and the second interpolation blurs a
    little, so crops cut from the photo are better. Equal specs return the crops unchanged.
    Raises `Misfit` if one spec is a box crop: its position relative to the face is not known.
    """
    if have == want:
        return crops
    if not (isinstance(have, LandmarkCrop) and isinstance(want, LandmarkCrop)):
        raise Misfit(
            "box crops cannot be made from other crops, nor other crops from them",
            "Start from the photos: facekd align PHOTOS CROPS --spec MODEL.onnx",
        )
    if crops.shape[1:] != (have.size, have.size, 3):
        raise Misfit(f"expected crops of {have.size} pixels, got {list(crops.shape[1:])}")
    matrix = similarity(have.template, want.template)
    out = np.empty((len(crops), want.size, want.size, 3), np.uint8)
    for index, crop in enumerate(crops):
        out[index] = warp(crop, matrix, want.size)
    return out
