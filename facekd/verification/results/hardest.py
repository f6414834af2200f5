"""The comparisons with a model's largest errors, as found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HardPair:
    """A comparison of ``first`` and ``second``, photos or templates; ``photos`` show
    them."""

    first: str
    second: str
    mated: bool
    score: float
    photos: tuple[str, str]


@dataclass(frozen=True)
class ShownPair:
    """A hard comparison with the two face crops, uint8 RGB [S, S, 3], if there are any."""

    pair: HardPair
    faces: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = field(default=None, repr=False)
