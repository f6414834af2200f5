"""Boxes that overlap: greedy non-maximum suppression, shared by the detectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def suppress(boxes: Floats, scores: Floats, threshold: float) -> NDArray[np.intp]:
    """Indices of the boxes [N, 4] to keep, best score first: each kept one removes all that
    overlap it by an intersection over union above ``threshold``."""
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes[order].T
    area = (x2 - x1) * (y2 - y1)
    alive = np.ones(len(order), bool)
    kept = []
    for index in range(len(order)):
        if not alive[index]:
            continue
        kept.append(index)
        rest = slice(index + 1, None)
        width = np.minimum(x2[index], x2[rest]) - np.maximum(x1[index], x1[rest])
        height = np.minimum(y2[index], y2[rest]) - np.maximum(y1[index], y1[rest])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        alive[rest] &= ~(shared > threshold * (area[index] + area[rest] - shared))
    return order[np.array(kept, np.intp)]
