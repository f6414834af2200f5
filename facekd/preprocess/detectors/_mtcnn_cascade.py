"""MTCNN (Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23(10), 2016), with the weights and the arithmetic of
facenet-pytorch 2.5.3, in numpy and ONNX Runtime.

P-Net is applied to an image pyramid; its candidates are refined by R-Net and by O-Net, which adds the
landmarks. All resampling is the plain mean over windows (torch's "area"), computed from one summed-area
table of the photo: a window takes four look-ups, whatever its size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facekd.geometry import Pixels
from facekd.preprocess.detectors._mtcnn_landmarks import refined
from facekd.preprocess.detectors._overlap import suppress
from facekd.preprocess.types import Face

if TYPE_CHECKING:
    import onnxruntime

_SMALLEST_FACE = 20
_SHRINK = 0.709
_SCORES = (0.6, 0.7, 0.7)
#: candidates that R-Net and O-Net process at a time
_BATCH = 512

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]


class Mtcnn:
    """The cascade of its three networks."""

    name = "mtcnn"
    #: 1 in 20 of LFW's faces scores less, and so do all of 163 when upside down (at 0.995: 161)
    sure = 0.999
    #: the most that an upright photo of LFW needs is 0.18
    clearly = 1 / 5
    #: 1 in 100 of LFW's faces is rotated further; at 45 degrees the landmarks of 1 in 5 are wrong
    level = 15.0

    def __init__(
        self,
        pnet: onnxruntime.InferenceSession,
        rnet: onnxruntime.InferenceSession,
        onet: onnxruntime.InferenceSession,
    ) -> None:
        self._pnet, self._rnet, self._onet = pnet, rnet, onet

    def detect(self, pixels: Pixels) -> list[Face]:
        table = _Sums(pixels)
        boxes = _square(self._propose(table))
        boxes = _square(self._refine(table, boxes))
        boxes, scores, points = self._locate(table, boxes)
        order = np.argsort(-scores, kind="stable")
        return [Face(boxes[i], float(scores[i]), points[i]) for i in order]

    def refine(self, pixels: Pixels, face: Face) -> Face:
        """``face``, found in ``pixels``, with the landmarks of O-Net's second look."""
        return replace(face, landmarks=refined(self._onet, pixels, face.landmarks))

    def _propose(self, table: _Sums) -> Floats:
        """Candidate boxes [N, 4] of all scales, corrected by P-Net."""
        found = [self._propose_at(table, scale) for scale in _scales(table.shape)]
        if not found:
            return np.zeros((0, 4), np.float32)
        boxes = np.concatenate(found)
        boxes = boxes[suppress(boxes[:, :4], boxes[:, 4], 0.7)]
        return boxes[:, :4] + boxes[:, 5:] * np.tile(boxes[:, 2:4] - boxes[:, :2], 2)

    def _propose_at(self, table: _Sums, scale: float) -> Floats:
        """Rows [N, 9] of one scale: box, score, correction."""
        height, width = table.shape
        planes = table.resized(int(height * scale + 1), int(width * scale + 1))
        scores, corrections = self._pnet.run(["score", "box"], {"planes": planes})
        cells = np.argwhere(scores[0, 1] >= _SCORES[0])
        if len(cells) == 0:
            return np.zeros((0, 9), np.float32)
        rows, columns = cells.T
        corner = cells[:, ::-1].astype(np.float32) * 2 + 1
        boxes = np.column_stack(
            [
                np.floor(corner / np.float32(scale)),
                np.floor((corner + 11) / np.float32(scale)),
                scores[0, 1, rows, columns],
                corrections[0][:, rows, columns].T,
            ]
        )
        return boxes[suppress(boxes[:, :4], boxes[:, 4], 0.5)]

    def _refine(self, table: _Sums, boxes: Floats) -> Floats:
        """The candidates [N, 4] that R-Net accepts, corrected."""
        boxes, windows = table.windows(boxes, 24)
        scores, corrections = _in_batches(self._rnet, ["score", "box"], windows)
        sure = scores[:, 1] > _SCORES[1]
        boxes, corrections = boxes[sure], corrections[sure]
        kept = suppress(boxes, scores[sure, 1], 0.7)
        return _corrected(boxes[kept], corrections[kept])

    def _locate(self, table: _Sums, boxes: Floats) -> tuple[Floats, Floats, Floats]:
        """Boxes [N, 4], scores [N] and landmarks [N, 5, 2] of the candidates that O-Net accepts."""
        boxes, windows = table.windows(boxes, 48)
        scores, corrections, points = _in_batches(self._onet, ["score", "box", "points"], windows)
        sure = scores[:, 1] > _SCORES[2]
        boxes, corrections, points = boxes[sure], corrections[sure], points[sure]
        size = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        # O-Net returns five x, then five y, as fractions of the box
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * size + boxes[:, None, :2] - 1
        boxes = _corrected(boxes, corrections)
        kept = suppress(boxes, scores[sure, 1], 0.7, of_smaller=True, edge=1)
        return boxes[kept], scores[sure, 1][kept], landmarks[kept].astype(np.float32)


class _Sums:
    """Summed-area table of a photo, for means over any of its windows."""

    def __init__(self, pixels: Pixels) -> None:
        import cv2

        self.shape = pixels.shape[:2]
        # 255 * 8 million pixels still fit a signed 32-bit sum
        depth = cv2.CV_32S if pixels[..., 0].size < 8_000_000 else cv2.CV_64F
        self._table = cv2.integral(pixels, sdepth=depth)

    def resized(self, height: int, width: int) -> Floats:
        """The whole photo as planes [1, 3, height, width], normalised for the networks."""
        top, bottom = _window_edges(np.zeros(1, int), np.array([self.shape[0]]), height)
        left, right = _window_edges(np.zeros(1, int), np.array([self.shape[1]]), width)
        return self._means(top, bottom, left, right)

    def windows(self, boxes: Floats, size: int) -> tuple[Floats, Floats]:
        """The ``boxes`` [N, 4] that overlap the photo, and their contents, clipped to it, as planes
        [N, 3, size, size]."""
        height, width = self.shape
        whole = np.trunc(boxes).astype(int)
        left, top = np.maximum(whole[:, :2].T, 1) - 1
        right, bottom = np.minimum(whole[:, 2], width), np.minimum(whole[:, 3], height)
        seen = (right > left) & (bottom > top)
        rows = _window_edges(top[seen], bottom[seen], size)
        columns = _window_edges(left[seen], right[seen], size)
        return boxes[seen], self._means(*rows, *columns)

    def _means(self, top: Ints, bottom: Ints, left: Ints, right: Ints) -> Floats:
        """Means of windows: row edges [N, R] and column edges [N, C] to planes [N, 3, R, C]."""
        top, bottom = top[:, :, None], bottom[:, :, None]
        left, right = left[:, None, :], right[:, None, :]
        table = self._table
        sums = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        area = ((bottom - top) * (right - left))[..., None].astype(np.float32)
        planes = (sums.astype(np.float32) / area - np.float32(127.5)) * np.float32(0.0078125)
        return np.ascontiguousarray(planes.transpose(0, 3, 1, 2))


def _window_edges(start: Ints, end: Ints, count: int) -> tuple[Ints, Ints]:
    """Where the ``count`` windows of each interval begin and end, [N, count] each: window i of a
    length L goes from floor(i L / count) to ceil((i + 1) L / count), as in torch's "area"."""
    steps = np.arange(count)
    length = (end - start)[:, None]
    first = start[:, None] + steps * length // count
    last = start[:, None] - (-(steps + 1) * length // count)
    return first, last


def _scales(shape: tuple[int, ...]) -> list[float]:
    """The scales of the pyramid: from the smallest face at 12 pixels to the photo at 12 pixels."""
    scales = []
    scale = 12.0 / _SMALLEST_FACE
    side = min(shape) * scale
    while side >= 12:
        scales.append(scale)
        scale *= _SHRINK
        side *= _SHRINK
    return scales


def _in_batches(session: onnxruntime.InferenceSession, outputs: list[str], planes: Floats) -> list[Floats]:
    parts = [
        session.run(outputs, {"planes": planes[start : start + _BATCH]})
        for start in range(0, max(1, len(planes)), _BATCH)
    ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _corrected(boxes: Floats, corrections: Floats) -> Floats:
    """``boxes`` [N, 4] moved by fractions of their size, which counts both edge pixels."""
    return boxes + corrections * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _square(boxes: Floats) -> Floats:
    """Squares [N, 4] with the centres and the longer sides of ``boxes`` [N, 4]."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True, initial=0)
    corner = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([corner, corner + side], axis=1)
