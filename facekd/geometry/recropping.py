"""Crops of one spec as crops of another, template to template."""

from __future__ import annotations

import numpy as np

from facekd.card import CropSpec, LandmarkCrop
from facekd.errors import Misfit
from facekd.geometry.pixels import Pixels
from facekd.geometry.transform import similarity
from facekd.geometry.warping import warp


def recrop(crops: Pixels, have: CropSpec, want: CropSpec) -> Pixels:
    """Crops [N, S, S, 3] cut by ``have`` as crops [N, S2, S2, 3] by ``want``, template to template.

    Pixels that the first crop does not hold stay black, and a second interpolation blurs a
    little, so crops cut from the photo are better. Equal specs give the crops back untouched.
    Raises `Misfit` where a box crop is involved: its place in the face is not known.
    """
    if have == want:
        return crops
    if not (isinstance(have, LandmarkCrop) and isinstance(want, LandmarkCrop)):
        raise Misfit(
            "box crops cannot be made from crops, nor other crops from them",
            "Start from the photos: facekd align PHOTOS CROPS --spec MODEL.onnx",
        )
    if crops.shape[1:] != (have.size, have.size, 3):
        raise Misfit(f"crops of {have.size} pixels were promised, these are {list(crops.shape[1:])}")
    matrix = similarity(have.template, want.template)
    out = np.empty((len(crops), want.size, want.size, 3), np.uint8)
    for index, crop in enumerate(crops):
        out[index] = warp(crop, matrix, want.size)
    return out
