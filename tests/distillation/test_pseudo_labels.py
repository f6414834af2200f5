"""Clusters of the teacher's embeddings as classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facekd.distillation.pseudo_labels import with_pseudo_labels
from facekd.errors import UsageError
from facekd.preprocess.sources.folders import FolderSource
from facekd.training.data import CropSet

GROUPS, EACH, DIM = 5, 20, 32


@pytest.fixture
def crops(tmp_path: Path) -> CropSet:
    """Ten crops of two people, then a hundred of nobody known, then eight strangers."""
    labels = np.array([0] * 5 + [1] * 5 + [-1] * (GROUPS * EACH + 8), np.int64)
    names = tuple(f"{i}.png" for i in range(len(labels)))
    for name in names:
        (tmp_path / name).touch()
    where = np.zeros(len(labels), np.int32)
    return CropSet((FolderSource(tmp_path),), where, names, labels, ("Ann", "Bo"))


@pytest.fixture
def rows() -> np.ndarray:
    """Embeddings in tight groups (not of unit length), and strangers at right angles to them."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    known = directions[[0] * 5 + [1] * 5]
    grouped = 3 * directions[np.repeat(np.arange(2, 2 + GROUPS), EACH)] + 0.1 * rng.normal(
        size=(GROUPS * EACH, DIM)
    )
    strangers = directions[10:18] + 0.05 * rng.normal(size=(8, DIM))
    return np.concatenate([known, grouped, strangers]).astype(np.float32)


def test_groups_become_classes_and_people_stay(crops: CropSet, rows: np.ndarray) -> None:
    found = with_pseudo_labels(crops, rows, 40, 0.7, seed=0)
    assert found.labels[:10].tolist() == crops.labels[:10].tolist()
    assert found.people[:2] == ("Ann", "Bo")
    assert all(name.startswith("cluster-") for name in found.people[2:])
    grouped = found.labels[10 : 10 + GROUPS * EACH].reshape(GROUPS, EACH)
    classes = [set(row.tolist()) - {-1} for row in grouped]
    for one, mine in enumerate(classes):
        assert mine, "a group of twenty has at least one cluster of two"
        assert not any(mine & other for other in classes[one + 1 :])
    assert found.counts().min() >= 2
    assert len(found.counts()) == len(found.people)
    assert found.digest == crops.digest  # the same crops: cached targets stay theirs
    again = with_pseudo_labels(crops, rows, 40, 0.7, seed=0)
    assert np.array_equal(again.labels, found.labels)


def test_the_gate_leaves_out_who_is_far_from_every_centre(crops: CropSet, rows: np.ndarray) -> None:
    # five centres for five groups and eight strangers: some must be far
    loose = with_pseudo_labels(crops, rows, GROUPS, -0.99, seed=0)
    strict = with_pseudo_labels(crops, rows, GROUPS, 0.8, seed=0)
    assert (loose.labels[10:] >= 0).mean() > (strict.labels[10:] >= 0).mean()
    assert (strict.labels[10 + GROUPS * EACH :] == -1).sum() >= 6
    with pytest.raises(UsageError, match="500 clusters need at least as many unlabelled crops, not 108"):
        with_pseudo_labels(crops, rows, 500, 0.5, seed=0)
