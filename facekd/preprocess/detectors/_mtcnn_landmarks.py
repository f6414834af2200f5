"""The second look of MTCNN's O-Net.

In the cascade O-Net sees a face once, leaning as it leans, in a box that is placed roughly, and its
landmarks depend on that box. Here it sees the face upright, in several windows and mirrored. It places the
corners of the mouth lower and further apart than SCRFD does, so that its crops would be wider.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facekd.geometry import Pixels, warp
from facekd.preprocess.detectors._second_look import MIRRORED, Points, in_the_photo, second_look

if TYPE_CHECKING:
    import onnxruntime

#: the side of O-Net's input in pixels, and how many pixels a side of each are averaged
_SIDE, _FINER = 48, 2
#: centre and side of its window in pixels of the template: the middle of MTCNN's final boxes, and 0.85 of
#: their side, with which the landmarks scatter less than with 0.8, 0.9 or all of it
_CENTRE, _WINDOW = np.array([56.3, 63.7]), 92.0
#: the shifts of the windows in each look, as fractions of their side; with five in the second, no better
_SHIFTS = (((0.0, 0.0),), ((0.0, 0.0), (0.05, 0.03), (-0.05, 0.03)))
#: the score above which O-Net has seen a face, as in the cascade
_SCORE = 0.7

#: the mean distance of these landmarks from SCRFD 500M's, in pixels of the template
OFFSETS = np.array([[-0.3, -0.6], [-0.7, -0.5], [-0.7, 0.0], [-1.0, 0.0], [-0.1, 0.1]])


def refined(onet: onnxruntime.InferenceSession, pixels: Pixels, landmarks: NDArray) -> NDArray[np.float32]:
    """The ``landmarks`` [5, 2] of a face in the uint8 RGB photo [H, W, 3] after O-Net's second look."""
    looks = [partial(_seen, onet, pixels, np.array(shifts)) for shifts in _SHIFTS]
    return second_look(looks, landmarks, OFFSETS)


def _seen(
    onet: onnxruntime.InferenceSession, pixels: Pixels, shifts: Points, aligned: Points
) -> Points | None:
    """The mean landmarks in windows around the face that ``aligned`` takes to the template, and in the same
    mirrored."""
    scale = _FINER * _SIDE / _WINDOW
    corners = _CENTRE + shifts * _WINDOW - _WINDOW / 2
    windows = []
    for corner in corners:
        # a window's corner is the edge of its first pixel, whose centre is half a pixel further
        matrix = scale * aligned
        matrix[:, 2] -= scale * corner + 0.5
        fine = warp(pixels, matrix, _FINER * _SIDE).reshape(_SIDE, _FINER, _SIDE, _FINER, 3)
        window = fine.mean(axis=(1, 3), dtype=np.float32)
        windows += [window, window[:, ::-1]]
    planes = (np.stack(windows).transpose(0, 3, 1, 2) - np.float32(127.5)) * np.float32(0.0078125)
    scores, points = onet.run(["score", "points"], {"planes": np.ascontiguousarray(planes)})
    # O-Net returns five x, then five y, as fractions of the window
    places = points.reshape(-1, 2, 2, 5).transpose(0, 1, 3, 2).astype(np.float64)
    places[:, 1, :, 0] = 1 - places[:, 1, :, 0]
    places[:, 1] = places[:, 1, MIRRORED]
    places = places * _WINDOW + corners[:, None, None]
    sure = scores[:, 1].reshape(-1, 2) > _SCORE
    return in_the_photo(places[sure].mean(axis=0), aligned) if sure.any() else None
