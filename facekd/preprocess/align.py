"""Face to crop. One aligner for training, evaluation and verification.

Five landmarks are laid on a template by the similarity transform with the least squared error
(Umeyama, IEEE TPAMI 13(4), 1991); the pixels are taken bilinearly, black outside the photo. A
bilinear step looks at four pixels only, so a transform that shrinks by two or more is preceded by
a block mean that leaves less than a factor of two to it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.card import BoxCrop, CropSpec, LandmarkCrop
from facekd.errors import Misfit, TooSmall
from facekd.preprocess.types import Face, Pixels

#: name and version of this aligner, for cards and reports; a change of pixels changes it
ALIGNER = "facekd-five-points-1"

Matrix = NDArray[np.float64]


def similarity(source: ArrayLike, target: ArrayLike) -> Matrix:
    """The similarity transform [2, 3] that takes points ``source`` [N, 2] closest to ``target``.

    In the plane Umeyama's solution without reflection is one complex factor: with both sets
    centred, z -> a z, a = sum(conj(s) t) / sum(|s|^2). Raises `TooSmall` for coinciding points.
    """
    start, end = np.asarray(source, np.float64), np.asarray(target, np.float64)
    s = (start - start.mean(0)) @ (1, 1j)
    t = (end - end.mean(0)) @ (1, 1j)
    spread = np.vdot(s, s).real
    factor = np.vdot(s, t) / spread if spread > 1e-9 else 0
    if not math.isfinite(abs(factor)) or abs(factor) < 1e-9:
        raise TooSmall("the landmarks coincide: there is no face to align")
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, end.mean(0) - turn @ start.mean(0)])


def scale_of(matrix: Matrix) -> float:
    """By how much a similarity transform [2, 3] enlarges."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def cut(pixels: Pixels, face: Face, spec: CropSpec) -> Pixels:
    """The crop [S, S, 3] of ``face`` from its photo's uint8 RGB [H, W, 3], as ``spec`` asks.

    Raises `TooSmall` where landmarks or box span nothing.
    """
    if isinstance(spec, BoxCrop):
        return _cut_box(pixels, face.box, spec)
    return _warp(pixels, similarity(face.landmarks, spec.template), spec.size)


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
        out[index] = _warp(crop, matrix, want.size)
    return out


def _warp(pixels: Pixels, matrix: Matrix, size: int) -> Pixels:
    """``pixels`` [H, W, 3] under ``matrix`` [2, 3] into [size, size, 3]."""
    import cv2

    factor = max(1, math.floor(1 / scale_of(matrix) + 1e-6))
    left, top, right, bottom = _seen_region(matrix, size, pixels.shape[:2], 2 * factor)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), np.uint8)
    region = _block_mean(pixels[top:bottom, left:right], factor)
    # a pixel of the reduced region stands for the centre of its block in the photo
    centre = (factor - 1) / 2
    to_photo = np.array([[factor, 0, left + centre], [0, factor, top + centre], [0, 0, 1]])
    return cv2.warpAffine(  # type: ignore[return-value]
        region, matrix @ to_photo, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )


def _seen_region(matrix: Matrix, size: int, shape: tuple[int, ...], margin: int) -> tuple[int, int, int, int]:
    """The part of the photo (left, top, right, bottom) that a crop of ``size`` looks at."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64)
    back = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    left, top = np.floor(back.min(0)).astype(int) - margin
    right, bottom = np.ceil(back.max(0)).astype(int) + margin
    return max(0, left), max(0, top), min(shape[1], right), min(shape[0], bottom)


def _block_mean(pixels: Pixels, factor: int) -> Pixels:
    """Means of ``factor`` x ``factor`` blocks; blocks over the edge are filled up with black."""
    import cv2

    if factor == 1:
        return np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    below, beside = -height % factor, -width % factor
    padded = cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_CONSTANT)
    size = (padded.shape[1] // factor, padded.shape[0] // factor)
    return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _cut_box(pixels: Pixels, box: NDArray[np.float32], spec: BoxCrop) -> Pixels:
    """The crop that facenet-pytorch's ``extract_face`` takes of a Pillow image."""
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
