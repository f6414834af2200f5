"""Crops of patterned "people", told apart with errors by the mean of their squares, for tests that
need people in numbers. ``from patterned_people import write_people``."""

from pathlib import Path

import cv2
import numpy as np


def write_people(
    folder: Path, people: int = 24, photos: int = 4, noise: float = 60, seed: int = 0, size: int = 112
) -> Path:
    """``P00/1.png`` and so on below ``folder``, uint8 [size, size, 3]."""
    random = np.random.default_rng(seed)
    for person in range(people):
        pattern = random.integers(0, 256, (8, 8, 3))
        (folder / f"P{person:02d}").mkdir(parents=True)
        for number in range(1, photos + 1):
            small = pattern + random.normal(0, noise, (8, 8, 3))
            crop = np.clip(np.kron(small, np.ones((size // 8, size // 8, 1))), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"P{person:02d}" / f"{number}.png"), crop)
    return folder
