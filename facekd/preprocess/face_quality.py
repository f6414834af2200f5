"""Quality of a crop: a number for choosing among photos, not for deciding who is in them."""

from __future__ import annotations

import numpy as np

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import TooSmall
from facekd.geometry import Pixels, similarity
from facekd.preprocess.selection import eye_distance
from facekd.preprocess.types import Face

#: pixels between the eyes above which a 112-pixel crop gains no detail: that of its template
_ENOUGH_EYE_DISTANCE = 35.0
#: distance of the landmarks to the fitted template, per eye distance, at which the part for pose is 0.5;
#: the median of LFW's faces is 0.08, and 1 % exceed 0.18
_TURNED = 0.2
#: `sharpness` at which a crop counts as sharp, the median of LFW
_SHARP = 0.68


def quality(crop: Pixels, face: Face) -> float:
    """Quality in [0, 1] of ``crop`` uint8 RGB [S, S, 3], cut around ``face``.

    The geometric mean of four parts, each in [0, 1]: size (eye distance in the photo), pose (how
    well the five landmarks fit the frontal template), `sharpness`, and
    exposure (share of pixels that are neither black nor white). After the capture-related
    elements of ISO/IEC 29794-5, much simplified.
    """
    parts = (
        min(1.0, eye_distance(face) / _ENOUGH_EYE_DISTANCE),
        1 / (1 + (_misfit(face) / _TURNED) ** 2),
        min(1.0, sharpness(crop) / _SHARP),
        _exposure(crop),
    )
    return float(np.prod(parts) ** (1 / len(parts)))


def _misfit(face: Face) -> float:
    """Root mean square distance between template and fitted landmarks, per eye distance."""
    template = np.asarray(ARCFACE_TEMPLATE)
    try:
        matrix = similarity(face.landmarks, template)
    except TooSmall:
        return 1.0
    off = face.landmarks @ matrix[:, :2].T + matrix[:, 2] - template
    eyes = np.linalg.norm(template[1] - template[0])
    return float(np.sqrt((off**2).sum(1).mean()) / eyes)


def sharpness(crop: Pixels) -> float:
    """Fine detail relative to coarser detail, in the middle of ``crop``: the standard deviation of the
    difference between Gaussians of 1 and 2 pixels (at 112), divided by that between 2 and 4; 0 without
    detail.

    The coarser detail of a photo predicts how much fine detail to expect, whatever the face and the light.
    This distinguishes blurs of 2 and 3 pixels, which the Laplacian relative to the contrast does not.
    """
    import cv2

    grey, unit = _grey(crop).astype(np.float32), len(crop) / 112
    one, two, four = (cv2.GaussianBlur(grey, (0, 0), sigma * unit) for sigma in (1, 2, 4))
    coarse = float(np.std(two - four))
    return float(np.std(one - two)) / coarse if coarse > 0.1 else 0.0


def light(crop: Pixels) -> float:
    """The grey level, 0 to 255, that the brightest twentieth of the middle of ``crop`` exceeds in its
    strongest colour. It is that of highlights, eyes and teeth, so it depends little on the skin."""
    return float(np.percentile(_middle(crop).max(axis=2), 95))


def noise(crop: Pixels) -> float:
    """Standard deviation of the noise in grey levels, in the middle of ``crop``, after Immerkaer (Fast
    noise variance estimation, CVIU 64, 1996): a filter that suppresses edges and gradients."""
    import cv2

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    passed = np.abs(cv2.filter2D(_grey(crop).astype(np.float32), -1, mask))
    return float(passed.mean() * np.sqrt(np.pi / 2) / 6)


def _exposure(crop: Pixels) -> float:
    middle = _middle(crop).max(axis=2)
    return float(np.mean((middle > 15) & (middle < 250)))


def _middle(crop: Pixels) -> Pixels:
    """The crop without a sixth at each side."""
    border = len(crop) // 6
    return crop[border:-border, border:-border]


def _grey(crop: Pixels) -> Pixels:
    import cv2

    return cv2.cvtColor(_middle(crop), cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
