"""Short videos for tests. ``from moving_pictures import write_video``."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float = 10.0, codec: str = "mp4v") -> Path:
    """Write ``frames`` uint8 RGB [H, W, 3] as a video to ``path``, with this many per second."""
    writer = None
    for frame in frames:
        if writer is None:
            size = (frame.shape[1], frame.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, size)
            assert writer.isOpened()
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    assert writer is not None
    writer.release()
    return path


def moved(picture: np.ndarray, shape: tuple[int, int], left: int, top: int = 20) -> np.ndarray:
    """``picture`` at a place in a grey frame of ``shape`` (height, width)."""
    frame = np.full((*shape, 3), 120, np.uint8)
    height, width = picture.shape[:2]
    frame[top : top + height, left : left + width] = picture
    return frame
