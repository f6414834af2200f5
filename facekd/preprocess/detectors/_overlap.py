"""Greedy non-maximum suppression of overlapping boxes, shared by the detectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def suppress(
    boxes: Floats, scores: Floats, threshold: float, *, of_smaller: bool = False, edge: int = 0
) -> NDArray[np.intp]:
    """Indices of the boxes [N, 4] to keep, best score first: each kept box removes all that overlap it by
    more than ``threshold``.

    The overlap is the intersection over the union or, with ``of_smaller``, over the smaller box, so that a
    box inside a better one is removed. ``edge`` is added to the length of each side: 1 counts both edge
    pixels. Of equal scores the first is kept, with ``of_smaller`` the last, as in facenet-pytorch.
    """
    order = np.argsort(scores)[::-1] if of_smaller else np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes[order].T
    area = (x2 - x1 + edge) * (y2 - y1 + edge)
    alive = np.ones(len(order), bool)
    kept = []
    for index in range(len(order)):
        if not alive[index]:
            continue
        kept.append(index)
        rest = slice(index + 1, None)
        width = np.minimum(x2[index], x2[rest]) - np.maximum(x1[index], x1[rest]) + edge
        height = np.minimum(y2[index], y2[rest]) - np.maximum(y1[index], y1[rest]) + edge
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        whole = np.minimum(area[index], area[rest]) if of_smaller else area[index] + area[rest] - shared
        alive[rest] &= ~(shared > threshold * whole)
    return order[np.array(kept, np.intp)]
