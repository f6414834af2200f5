"""A detector of white squares, and photos of them. ``from stub_detector import Stub``."""

from __future__ import annotations

import numpy as np

from facekd.card import ARCFACE_TEMPLATE
from facekd.geometry import Pixels
from facekd.preprocess import Face, Photo

TEMPLATE = np.asarray(ARCFACE_TEMPLATE, np.float32)


def face(x: float, y: float, size: float) -> Face:
    """A frontal face whose box of ``size`` has its corner at (x, y)."""
    box = np.array([x, y, x + size, y + size], np.float32)
    return Face(box, 0.9, TEMPLATE * (size / 112) + np.array([x, y], np.float32))


class Stub:
    """Finds a white square as a face, if it is at least ``smallest`` pixels off every edge."""

    name = "stub"

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.shapes: list[tuple[int, ...]] = []

    def detect(self, pixels: Pixels) -> list[Face]:
        self.shapes.append(pixels.shape)
        ys, xs = np.nonzero(pixels[..., 0] > 128)
        if len(ys) == 0:
            return []
        left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        height, width = pixels.shape[:2]
        if min(left, top, width - right, height - bottom) < self.room:
            return []
        return [face(left, top, right - left)]


def photo_with_square(height: int, width: int, left: int, top: int, size: int) -> Photo:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top : top + size, left : left + size] = 255
    return Photo("photo", pixels, "")
