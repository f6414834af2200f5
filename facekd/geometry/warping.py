"""Warp and cut pixels.

Interpolation is bilinear, with black outside the photo. A bilinear step uses four pixels only, so a
transform that shrinks by two or more is preceded by a block mean that leaves it a factor of less than
two.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from facekd.card import BoxCrop
from facekd.errors import Misfit, TooSmall
from facekd.geometry.pixels import Pixels
from facekd.geometry.transform import Matrix, scale_of


def warp(pixels: Pixels, matrix: Matrix, size: int) -> Pixels:
    """``pixels`` [H, W, 3] under ``matrix`` [2, 3] into [size, size, 3]."""
    import cv2

    factor = max(1, math.floor(1 / scale_of(matrix) + 1e-6))
    left, top, right, bottom = _seen_region(matrix, size, pixels.shape[:2], 2 * factor)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), np.uint8)
    region = _block_mean(pixels[top:bottom, left:right], factor)
    # a pixel of the reduced region is the centre of its block in the photo
    centre = (factor - 1) / 2
    to_photo = np.array([[factor, 0, left + centre], [0, factor, top + centre], [0, 0, 1]])
    return cv2.warpAffine(  # type: ignore[return-value]
        region, matrix @ to_photo, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )


def _seen_region(matrix: Matrix, size: int, shape: tuple[int, ...], margin: int) -> tuple[int, int, int, int]:
    """The part of the photo (left, top, right, bottom) that a crop of ``size`` uses."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64)
    back = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    left, top = np.floor(back.min(0)).astype(int) - margin
    right, bottom = np.ceil(back.max(0)).astype(int) + margin
    return max(0, left), max(0, top), min(shape[1], right), min(shape[0], bottom)


def _block_mean(pixels: Pixels, factor: int) -> Pixels:
    """Means of ``factor`` x ``factor`` blocks; blocks beyond the edge are padded with black."""
    import cv2

    if factor == 1:
        return np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    below, beside = -height % factor, -width % factor
    padded = cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_CONSTANT)
    size = (padded.shape[1] // factor, padded.shape[0] // factor)
    return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def cut_box(pixels: Pixels, box: NDArray[np.float32], spec: BoxCrop) -> Pixels:
    """The crop that facenet-pytorch's ``extract_face`` cuts from a Pillow image."""
    from PIL import Image

    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = (float(v) for v in box)
    if spec.margin >= spec.size:
        raise Misfit(f"a margin of {spec.margin} leaves nothing of a crop of {spec.size}")
    wider = spec.margin * (x2 - x1) / (spec.size - spec.margin) / 2
    taller = spec.margin * (y2 - y1) / (spec.size - spec.margin) / 2
    left, top = int(max(x1 - wider, 0)), int(max(y1 - taller, 0))
    right, bottom = int(min(x2 + wider, width)), int(min(y2 + taller, height))
    if right <= left or bottom <= top:
        raise TooSmall("the face's box spans no pixel of the photo")
    region = Image.fromarray(pixels[top:bottom, left:right])
    return np.asarray(region.resize((spec.size, spec.size), Image.Resampling.BILINEAR))
