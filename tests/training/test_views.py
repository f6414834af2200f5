"""The order of a run, and the loader that follows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_crops import write_crop

from facekd.training import Augmentation
from facekd.training.data import View, ViewLoader, open_crops
from facekd.training.data.views import Order


def test_every_epoch_shows_every_crop_once_and_views_take_turns() -> None:
    order = Order(crops=10, count=2, seed=4, mirror=True)
    views = [order.at(position) for position in range(40)]
    for epoch in range(4):
        part = views[10 * epoch : 10 * epoch + 10]
        assert sorted(view.crop for view in part) == list(range(10))
        assert {view.number for view in part} == {epoch % 2}
    assert [v.crop for v in views[:10]] != [v.crop for v in views[10:20]]
    assert 5 < sum(view.mirrored for view in views) < 35
    # a resumed run begins in the middle, with a new object
    again = Order(crops=10, count=2, seed=4, mirror=True)
    assert [again.at(position) for position in range(17, 40)] == views[17:]


def test_online_views_never_repeat_and_mirrors_can_be_off() -> None:
    order = Order(crops=3, count=0, seed=0, mirror=False)
    assert [order.at(p).number for p in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert not any(order.at(p).mirrored for p in range(9))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_the_views_in_order(tmp_path: Path, workers: int) -> None:
    for person in ("a", "b"):
        for number in range(3):
            write_crop(tmp_path / "set" / person / f"{number}.png", 30 * number)
    crops = open_crops([tmp_path / "set"])
    augmentation = Augmentation(shift=2, colour=0.2)
    wanted = [View(4, 1, False), View(0, 0, True), View(2, 3, True), View(5, 0, False), View(1, 1, True)]
    batches = list(ViewLoader(crops, augmentation, 9, 2, workers).batches(wanted))
    assert [len(batch.labels) for batch in batches] == [2, 2, 1]
    flat = [pixels for batch in batches for pixels in batch.views.numpy()]
    for view, pixels in zip(wanted, flat, strict=True):
        expected = augmentation.view(crops.read(view.crop), (9, view.crop, view.number))
        assert np.array_equal(pixels, expected[:, ::-1] if view.mirrored else expected)
    assert [int(label) for batch in batches for label in batch.labels] == [1, 0, 0, 1, 0]
