"""SCRFD (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021),
the variants with landmarks that insightface publishes as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import Unreadable
from facekd.preprocess.detectors._making import needs_file, register
from facekd.preprocess.types import Detector, Face

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray

    from facekd.geometry import Pixels

    Floats = NDArray[np.float32]

_STRIDES = (8, 16, 32)
_ANCHORS = 2
_LONGER_SIDE = 640
_SCORE = 0.5
_OVERLAP = 0.4


@register("scrfd", "scrfd:FILE")
def scrfd(file: Path | None, device: str, threads: int | None) -> Detector:
    from facekd.runtime import open_session

    file = needs_file(file, "scrfd")
    return Scrfd(file.stem, open_session(file, device, threads))


class Scrfd:
    """``session`` takes [1, 3, H, W] and returns scores, then boxes, then landmarks, each per stride."""

    #: 1 in 12 of LFW's faces scores less, and 99 in 100 of them when upside down
    sure = 0.77
    #: the most that one of 6,767 upright photos of LFW needs is 0.14; each of 678 upside down has at least
    #: 0.24
    clearly = 1 / 5
    #: 1 in 100 of LFW's faces is rotated further; at 45 degrees the landmarks of 1 in 10 are wrong
    level = 15.0
    #: by the score alone, one of 339 upright faces equals itself upside down; with this, all score higher
    mouth = 4.0
    #: between 1 in 8 and 1 in 5 of 339 faces of LFW have a lower sum
    stands = 4.3

    def __init__(self, name: str, session: onnxruntime.InferenceSession) -> None:
        self.name = name
        self._session = session
        self._input = session.get_inputs()[0]
        if len(session.get_outputs()) != 3 * len(_STRIDES):
            raise Unreadable(
                f"{name}: not an SCRFD with landmarks: {len(session.get_outputs())} outputs, not 9"
            )

    def detect(self, pixels: Pixels) -> list[Face]:
        import numpy as np

        from facekd.preprocess.detectors._overlap import suppress

        canvas, scale = self._letterbox(pixels)
        planes = (canvas.transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 128
        found = self._session.run(None, {self._input.name: planes})
        parts = [
            _decode_stride(found[i], found[i + 3], found[i + 6], stride, canvas.shape[:2])
            for i, stride in enumerate(_STRIDES)
        ]
        scores, boxes, points = (np.concatenate(column) for column in zip(*parts, strict=True))
        kept = suppress(boxes, scores, _OVERLAP)
        return [Face(boxes[i], float(scores[i]), points[i]).moved(1 / scale) for i in kept]

    def _letterbox(self, pixels: Pixels) -> tuple[Pixels, float]:
        """The photo in the top left corner of a black canvas whose sides are multiples of 32, reduced to
        a longer side of 640 pixels if it is larger; and the scale."""
        import cv2
        import numpy as np

        height, width = pixels.shape[:2]
        fixed = [side for side in self._input.shape[2:] if isinstance(side, int) and side > 0]
        limit = (fixed[0], fixed[1]) if len(fixed) == 2 else (_LONGER_SIDE, _LONGER_SIDE)
        scale = min(1.0, limit[0] / height, limit[1] / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
        canvas_size = limit if fixed else (-(-size[1] // 32) * 32, -(-size[0] // 32) * 32)
        canvas = np.zeros((*canvas_size, 3), np.uint8)
        canvas[: size[1], : size[0]] = small
        return canvas, scale


def _decode_stride(
    scores: Floats, boxes: Floats, points: Floats, stride: int, shape: tuple[int, ...]
) -> tuple[Floats, Floats, Floats]:
    """Scores [N], boxes [N, 4] and landmarks [N, 5, 2] in pixels, from the raw outputs for one stride,
    which are distances from each anchor's centre in units of the stride."""
    import numpy as np

    rows, columns = shape[0] // stride, shape[1] // stride
    y, x = np.mgrid[:rows, :columns]
    centres = np.stack([x, y], axis=-1).reshape(-1, 2).repeat(_ANCHORS, axis=0) * np.float32(stride)
    flat = scores.reshape(-1)
    if len(flat) != len(centres):
        raise Unreadable(
            f"not an SCRFD with {_ANCHORS} anchors per cell: {len(flat)} scores at stride {stride}"
        )
    sure = flat >= _SCORE
    centres = centres[sure].astype(np.float32)
    reach = boxes.reshape(-1, 4)[sure] * stride
    corners = np.concatenate([centres - reach[:, :2], centres + reach[:, 2:]], axis=1)
    landmarks = centres[:, None] + points.reshape(-1, 5, 2)[sure] * stride
    return flat[sure], corners, landmarks
