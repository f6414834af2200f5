"""Several embeddings as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def fuse(embeddings: Sequence[Floats]) -> Floats:
    """One embedding [D] for a person's several: the direction of their mean.

    The best of k scores would be a new chance of a false match with every photo, and the
    threshold, which was calibrated on single comparisons, would no longer keep its rate. The mean
    direction is one comparison again, of a better template.
    """
    mean = np.mean(embeddings, axis=0)
    # embeddings that cancel out have no direction; 0 then scores 0 against everybody
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)
