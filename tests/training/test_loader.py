"""The loader gives the views of a run in their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_crops import write_crop

from facekd.training import Augmentation
from facekd.training.data import View, ViewLoader, open_crops


@pytest.mark.parametrize(("workers", "threads"), [(0, 1), (0, 3), (2, 1)])
def test_the_loader_gives_the_views_in_order(tmp_path: Path, workers: int, threads: int) -> None:
    for person in ("a", "b"):
        for number in range(3):
            write_crop(tmp_path / "set" / person / f"{number}.png", 30 * number)
    crops = open_crops([tmp_path / "set"])
    augmentation = Augmentation(shift=2, colour=0.2)
    wanted = [View(4, 1, False), View(0, 0, True), View(2, 3, True), View(5, 0, False), View(1, 1, True)]
    batches = list(ViewLoader(crops, augmentation, 9, 2, workers, threads).batches(wanted))
    assert [len(batch.labels) for batch in batches] == [2, 2, 1]
    flat = [pixels for batch in batches for pixels in batch.views.numpy()]
    for view, pixels in zip(wanted, flat, strict=True):
        expected = augmentation.view(crops.read(view.crop), (9, view.crop, view.number))
        assert np.array_equal(pixels, expected[:, ::-1] if view.mirrored else expected)
    assert [int(label) for batch in batches for label in batch.labels] == [1, 0, 0, 1, 0]
