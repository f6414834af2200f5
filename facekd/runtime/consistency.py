"""A measure of how reliable an embedding is, from the network itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facekd.runtime.embedder import Embedder


def mirror_consistency(
    embedder: Embedder, crops: NDArray[np.uint8], embeddings: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The cosine [N], at least 0, between the ``embeddings`` float32 [N, D] of ``crops`` uint8 RGB
    [N, S, S, 3] and those of their mirror images.

    The embedding of a clear face hardly changes when the crop is mirrored; that of a face with a strong pose,
    blur or an occlusion does. The idea is that of Terhörst et al., "SER-FIQ: Unsupervised estimation of face
    image quality based on stochastic embedding robustness" (CVPR 2020), with one mirroring in place of a
    hundred forward passes with dropout.
    """
    mirrored = embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    found = np.einsum("nd,nd->n", mirrored.astype(np.float64), embeddings)
    return np.clip(found, 0, 1).astype(np.float32)
