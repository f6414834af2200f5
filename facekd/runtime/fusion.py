"""Fuse several embeddings into one template."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def fuse(embeddings: Sequence[Floats] | Floats) -> Floats:
    """One embedding [D] from a person's several: the direction of their mean.

    The best of k scores would be another chance of a false match with every photo, and the
    threshold, calibrated on single comparisons, would no longer have its rate. The mean
    direction is again a single comparison, with a better template.
    """
    mean = np.mean(embeddings, axis=0)
    # embeddings that cancel out have no direction; the zero vector scores 0 against everybody
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)
