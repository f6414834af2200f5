"""YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
Research 20, 2023), run by OpenCV on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import DeviceError, InputOutput, Unreadable
from facekd.files import read_bounded
from facekd.preprocess.detectors._making import needs_file, register
from facekd.preprocess.types import Detector, Face

if TYPE_CHECKING:
    import cv2
    import numpy as np

    from facekd.geometry import Pixels

#: it was trained for faces of 10 to 300 pixels, so larger photos are reduced
_LONGER_SIDE = 640
_SCORE = 0.6
_OVERLAP = 0.3
_CANDIDATES = 5000
#: bytes of the largest model file that is read; the published ones hold 0.2 million
_MAX_BYTES = 100_000_000


@register("yunet", "yunet:FILE")
def yunet(file: Path | None, device: str, threads: int | None) -> Detector:
    import cv2
    import numpy as np

    file = needs_file(file, "yunet")
    if device != "cpu":
        raise DeviceError(f"--device {device}: YuNet runs on the CPU only", "Use scrfd:FILE or mtcnn.")
    if not file.exists():
        raise InputOutput(f"{file}: no such model file")
    content = np.frombuffer(read_bounded(file, _MAX_BYTES), np.uint8)
    if threads is not None:
        cv2.setNumThreads(threads)
    log = cv2.utils.logging
    level = log.getLogLevel()
    # OpenCV prints notes to stderr while it loads a network
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        network = cv2.FaceDetectorYN.create(
            "onnx", content, np.empty(0, np.uint8), (320, 320), _SCORE, _OVERLAP, _CANDIDATES
        )
        network.detect(np.zeros((320, 320, 3), np.uint8))
    except cv2.error as error:
        raise Unreadable(f"{file}: OpenCV cannot use it as YuNet") from error
    finally:
        log.setLogLevel(level)
    return Yunet(file.stem, network)


class Yunet:
    """OpenCV's detector, which is configured for one input size at a time."""

    #: 1 in 150 of LFW's faces scores less, and 99 in 100 of them when upside down
    sure = 0.9
    #: none of 2,707 upright photos of LFW needs any; 1 / 4 left 28 of 339 upside down uncorrected, this 5
    clearly = 1 / 8
    #: 1 in 50 of LFW's faces appears rotated further, and 19 in 20 of them when rotated by 30 degrees, of
    #: which they show half; corrected step by step, because scaling the first angle overturns upright faces
    level = 6.0

    def __init__(self, name: str, network: cv2.FaceDetectorYN) -> None:
        self.name = name
        self._network = network

    def detect(self, pixels: Pixels) -> list[Face]:
        import cv2
        import numpy as np

        height, width = pixels.shape[:2]
        scale = min(1.0, _LONGER_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
        self._network.setInputSize(size)
        _, rows = self._network.detect(np.ascontiguousarray(small[..., ::-1]))
        faces = [_face(row).moved(1 / scale) for row in ([] if rows is None else rows)]
        return sorted(faces, key=lambda face: -face.score)

    def refine(self, pixels: Pixels, face: Face) -> Face:
        """``face``, found in ``pixels``, with the landmarks of a second look."""
        from facekd.preprocess.detectors._yunet_landmarks import refined

        return replace(face, landmarks=refined(self.detect, pixels, face.landmarks))


def _face(row: np.ndarray) -> Face:
    """The face in one row: x, y, width, height, five points, score."""
    import numpy as np

    corner, size = row[:2], row[2:4]
    box = np.concatenate([corner, corner + size]).astype(np.float32)
    return Face(box, float(row[14]), row[4:14].reshape(5, 2).astype(np.float32))
