"""Crops that are copies of other crops: the same photo, encoded again or cut again within a pixel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.files import write_atomically
from facekd.training.data.crops import CropSet

#: correlation of 16 x 16 grey pictures above which two crops may be copies. On 200 crops it was 0.978 or
#: more for 95 in 100 that were moved by a pixel, 0.974 after a change of brightness, 0.999 after JPEG at
#: quality 30; of 680 million pairs of crops of different people that are no copies, one had more than 0.98
MAYBE = 0.97
#: above this they are copies without a check by the teacher
SURELY = 0.985
_SIDE = 16
_BLOCK = 4096


@dataclass(frozen=True)
class Alike:
    """Crop ``index`` of one set and crop ``other`` of another, and the correlation of their pictures."""

    index: int
    other: int
    likeness: float


def alike_crops(crops: CropSet, others: CropSet, cache: Path) -> list[Alike]:
    """The ``crops`` that may be copies of one of ``others``, mirrored or not, each with the most similar
    one.

    Every crop is decoded; the result is stored below ``cache`` for these two sets. Raises the errors of
    `CropSet.read`.
    """
    kept = cache / "copies" / f"{crops.digest[:32]}-{others.digest[:32]}.json"
    if kept.is_file():
        return [Alike(*row) for row in json.loads(kept.read_text())]
    theirs = np.concatenate([np.stack(list(_pictures(others, mirror))) for mirror in (False, True)])
    found: list[Alike] = []
    block: list[NDArray[np.float32]] = []
    for start, picture in enumerate(_pictures(crops)):
        block.append(picture)
        if len(block) == _BLOCK or start == len(crops) - 1:
            found += _alike(np.stack(block), theirs, start + 1 - len(block), len(others))
            block.clear()
    write_atomically(kept, json.dumps([[a.index, a.other, round(a.likeness, 4)] for a in found]).encode())
    return found


def _alike(mine: NDArray[np.float32], theirs: NDArray[np.float32], start: int, count: int) -> Iterator[Alike]:
    """The matches of rows ``mine``, starting at crop ``start``; ``theirs`` are ``count`` crops followed by
    their mirror images."""
    scores = mine @ theirs.T
    best = scores.argmax(axis=1)
    for row in np.flatnonzero(scores.max(axis=1) >= MAYBE).tolist():
        yield Alike(start + row, int(best[row]) % count, float(scores[row, best[row]]))


def _pictures(crops: CropSet, mirror: bool = False) -> Iterator[NDArray[np.float32]]:
    """A small grey picture of each crop, float32 [256], with mean 0 and unit length (all 0 for a crop of
    one colour)."""
    import cv2

    for index in range(len(crops)):
        grey = cv2.cvtColor(crops.read(index), cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        flat = (small[:, ::-1] if mirror else small).ravel()
        centred = flat - flat.mean()
        length = float(np.linalg.norm(centred))
        yield centred / length if length > 1 else np.zeros_like(centred)
