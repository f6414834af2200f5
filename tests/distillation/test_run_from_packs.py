"""A run from an insightface pack is the run from the same crops in any other form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from small_run import TEACHER, losses_of, recipe, run

from facekd.distillation import Recipe, training_crops
from facekd.training import load_weights
from facekd.workflows.data import convert


def from_pack(place: Path, pack: str) -> Recipe:
    """Ten steps with cached targets on the crops of ``pack``."""
    chosen = recipe(
        place,
        TEACHER + "views = 2\n",
        pack=('labelled = ["crops"]', f'labelled = ["{pack}"]'),
        ten=("images = 96", "images = 80"),
    )
    assert chosen.teacher is not None
    assert chosen.teacher.cached
    return chosen


def test_ten_steps_from_a_recordio_pack_are_those_from_a_zip(place: Path) -> None:
    """As MS1M and WebFace come: images by number, identities by number, no names beside them."""
    convert(place / "crops", place / "train.rec")
    (place / "train.identities.tsv").unlink()
    convert(place / "train.rec", place / "same.zip")
    (place / "heldout.txt").write_text("".join(f"{person:07d}\n" for person in range(4, 8)))
    found = {}
    for pack in ("train.rec", "same.zip"):
        chosen = from_pack(place, pack)
        crops = training_crops(chosen)
        assert crops.people == ("0000000", "0000001", "0000002", "0000003")
        records = run(place, pack.partition(".")[0], chosen)
        assert (records[-1]["finished"], records[-1]["images"]) == (True, 80)
        found[pack] = losses_of(records)
    assert found["train.rec"] == found["same.zip"]
    assert found["train.rec"][-1][0] == 10
    # all ten steps, not only those that are logged
    one, other = load_weights(place / "train", "last"), load_weights(place / "same", "last")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    # each pack has a cache of its own, with the same targets
    caches = sorted(f for f in (place / "cache").glob("*/view-*.npy") if len(np.load(f)) == 16)
    assert len({file.parent for file in caches}) == 2
    assert len(caches) == 4
    for first, second in zip(caches[:2], caches[2:], strict=True):
        assert first.name == second.name
        targets = np.load(first)
        assert targets.shape == (16, 32)
        assert np.array_equal(targets, np.load(second))
    assert not np.array_equal(np.load(caches[0]), np.load(caches[1]))


def test_the_crops_of_the_pack_are_those_of_the_folder(place: Path) -> None:
    convert(place / "crops", place / "train.rec")
    folder, pack = (training_crops(from_pack(place, name)) for name in ("crops", "train.rec"))
    assert folder.people == pack.people
    assert np.array_equal(folder.labels, pack.labels)
    for crop in range(len(folder)):
        assert np.array_equal(folder.read(crop), pack.read(crop))
