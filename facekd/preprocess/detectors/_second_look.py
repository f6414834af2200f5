"""A second look at a face, upright and where its landmarks say that it is, for detectors whose landmarks
depend on how the face lies in the photo.

The mean distance that remains from SCRFD 500M's landmarks is subtracted: SCRFD cut the crops that the
shipped student was trained on. `tools/measure_landmarks.py` measures that distance and how far the landmarks
scatter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import TooSmall
from facekd.geometry import similarity

Points = NDArray[np.float64]
#: from the transform [2, 3] of the photo to the template to the landmarks [5, 2] seen in the photo; `None` if
#: there is no face
Look = Callable[[Points], Points | None]

#: where the points of a mirrored face are in the face
MIRRORED = [1, 0, 2, 4, 3]
#: pixels of the template: landmarks that move further belong to another face
_FURTHEST = 25.0


def second_look(looks: Sequence[Look], landmarks: NDArray, offsets: Points) -> NDArray[np.float32]:
    """The ``landmarks`` [5, 2] as the last of ``looks`` sees them, each of which is shown where the one
    before has seen them, less ``offsets`` [5, 2] in pixels of the template. If a look sees no face, or
    another one, the first landmarks are corrected by ``offsets``; those that coincide are returned as they
    are."""
    expected = np.asarray(ARCFACE_TEMPLATE) + offsets
    try:
        first = found = np.asarray(landmarks, np.float64)
        begun = similarity(first, expected)
        for look in looks:
            seen = look(similarity(found, expected))
            if seen is None or np.abs((seen - first) @ begun[:, :2].T).max() > _FURTHEST:
                found = first
                break
            found = seen
        turn = similarity(found, expected)[:, :2]
    except TooSmall:
        return np.asarray(landmarks, np.float32)
    return (found - np.linalg.solve(turn, offsets.T).T).astype(np.float32)


def in_the_photo(points: Points, matrix: Points) -> Points:
    """``points`` [N, 2] under the inverse of ``matrix`` [2, 3]."""
    return np.asarray(np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T, np.float64)
