"""Pseudo-labels for unlabelled crops: clusters of the teacher's embeddings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.training.data import CropSet


def with_pseudo_labels(
    crops: CropSet, rows: NDArray[np.float32], clusters: int, gate: float, seed: int
) -> CropSet:
    """``crops`` with a class for every unlabelled crop that is close enough to a cluster's centre.

    k-means with ``clusters`` centres runs on the teacher's unit ``rows`` [N, D] of the unlabelled
    crops; a crop is assigned to the centre with the highest cosine if that is at least ``gate``.
    Clusters with fewer than two crops are dropped. A cluster is seldom one person: its
    centre is a prototype that student and teacher are compared on, not an identity.

    Raises `UsageError` if there are fewer unlabelled crops than clusters.
    """
    from sklearn.cluster import MiniBatchKMeans

    unknown = np.flatnonzero(crops.labels < 0)
    if len(unknown) < clusters:
        raise UsageError(f"{clusters} clusters need at least as many unlabelled crops, not {len(unknown)}")
    lengths = np.linalg.norm(rows[unknown], axis=1, keepdims=True)
    mine = rows[unknown] / np.maximum(lengths, 1e-12)
    found = MiniBatchKMeans(clusters, random_state=seed, batch_size=4096, n_init=1).fit(mine)
    centres = found.cluster_centers_ / np.linalg.norm(found.cluster_centers_, axis=1, keepdims=True)
    nearest, cosines = _nearest(mine, centres)
    sure = cosines >= gate
    counts = np.bincount(nearest[sure], minlength=clusters)
    kept = np.flatnonzero(counts >= 2)
    number = np.full(clusters, -1)
    number[kept] = np.arange(len(kept)) + len(crops.people)
    labels = crops.labels.copy()
    labels[unknown[sure]] = number[nearest[sure]]
    names = tuple(f"cluster-{k:06d}" for k in range(len(kept)))
    return replace(crops, labels=labels, people=crops.people + names)


def _nearest(rows: NDArray[np.float32], centres: NDArray) -> tuple[NDArray[np.int64], NDArray]:
    """The centre of highest cosine for each row, and that cosine."""
    nearest, cosines = np.empty(len(rows), np.int64), np.empty(len(rows))
    for start in range(0, len(rows), 4096):
        scores = rows[start : start + 4096] @ centres.T
        nearest[start : start + 4096] = scores.argmax(axis=1)
        cosines[start : start + 4096] = scores.max(axis=1)
    return nearest, cosines
