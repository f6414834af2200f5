"""How well a crop will serve: a number for choosing among photos, not for deciding who it is."""

from __future__ import annotations

import numpy as np

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import TooSmall
from facekd.geometry import Pixels, similarity
from facekd.preprocess.selection import eye_distance
from facekd.preprocess.types import Face

#: pixels between the eyes at which a 112-pixel crop shows no more: those of its template
_ENOUGH_EYE_DISTANCE = 35.0
#: distance of the landmarks to the fitted template, per eye distance, at which pose counts half;
#: LFW's faces have a median of 0.08, a hundredth of them exceeds 0.18
_TURNED = 0.2
#: `sharpness` from which a crop counts as sharp, the median of LFW
_SHARP = 0.68


def quality(crop: Pixels, face: Face) -> float:
    """Quality in [0, 1] of ``crop`` uint8 RGB [S, S, 3], cut around ``face``.

    The geometric mean of four parts, each in [0, 1]: size (eye distance in the photo), pose (how
    well five points fit the frontal template), `sharpness` and
    exposure (share of pixels that are neither black nor white); after the capture-related
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
    """Root mean square distance of template and fitted landmarks, per eye distance."""
    template = np.asarray(ARCFACE_TEMPLATE)
    try:
        matrix = similarity(face.landmarks, template)
    except TooSmall:
        return 1.0
    off = face.landmarks @ matrix[:, :2].T + matrix[:, 2] - template
    eyes = np.linalg.norm(template[1] - template[0])
    return float(np.sqrt((off**2).sum(1).mean()) / eyes)


def sharpness(crop: Pixels) -> float:
    """Fine detail against the next coarser: the deviation of what lies between Gaussians of 1 and 2
    pixels (at 112) over that between 2 and 4, in the middle of ``crop``; 0 where there is nothing to see.

    Of a photo the coarser detail says how much finer there should be, whatever the face and the light.
    So this tells blurs of 2 and 3 pixels apart, which the Laplacian against the contrast does not.
    """
    import cv2

    grey, unit = _grey(crop).astype(np.float32), len(crop) / 112
    one, two, four = (cv2.GaussianBlur(grey, (0, 0), sigma * unit) for sigma in (1, 2, 4))
    coarse = float(np.std(two - four))
    return float(np.std(one - two)) / coarse if coarse > 0.1 else 0.0


def light(crop: Pixels) -> float:
    """Grey level, 0 to 255, that the brightest twentieth of the middle of ``crop`` exceeds in its
    strongest colour: highlights, eyes and teeth, so that it depends little on the skin."""
    return float(np.percentile(_middle(crop).max(axis=2), 95))


def noise(crop: Pixels) -> float:
    """Standard deviation of the noise in grey levels, in the middle of ``crop``, after Immerkaer (Fast
    noise variance estimation, CVIU 64, 1996): a mask that edges and slopes hardly pass."""
    import cv2

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    passed = np.abs(cv2.filter2D(_grey(crop).astype(np.float32), -1, mask))
    return float(passed.mean() * np.sqrt(np.pi / 2) / 6)


def _exposure(crop: Pixels) -> float:
    middle = _middle(crop).max(axis=2)
    return float(np.mean((middle > 15) & (middle < 250)))


def _middle(crop: Pixels) -> Pixels:
    """Without a sixth at each side."""
    border = len(crop) // 6
    return crop[border:-border, border:-border]


def _grey(crop: Pixels) -> Pixels:
    import cv2

    return cv2.cvtColor(_middle(crop), cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
