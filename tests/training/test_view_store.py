"""Views that are kept on disk are those that would be made, and belong to the crops they were made of."""

from __future__ import annotations

import pickle
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from test_crops import write_crop

from facekd.errors import InputOutput
from facekd.training import Augmentation
from facekd.training.data import CropSet, View, ViewLoader, keep_views, kept_views, open_crops

MOVED = Augmentation(shift=2, colour=0.2, p_blur=0.5)
SEED = 9


@pytest.fixture
def crops(tmp_path: Path) -> CropSet:
    for person in ("a", "b"):
        for number in range(3):
            write_crop(tmp_path / "set" / person / f"{number}.png", 30 * number)
    return open_crops([tmp_path / "set"])


@pytest.mark.parametrize(("workers", "threads"), [(0, 1), (0, 3), (2, 1)])
def test_they_are_the_views_that_are_made(
    tmp_path: Path, crops: CropSet, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, told = kept_views(tmp_path / "cache", crops, MOVED, SEED), []
    assert kept.missing(range(2)) == 12
    assert kept.bytes_of(range(2)) == 12 * 112 * 112 * 3
    keep_views(kept, range(2), crops, MOVED, SEED, threads=threads, tell=told.append)
    assert sum(told) == 12
    assert kept.missing(range(2)) == 0
    for number in range(2):
        for crop in range(6):
            made = MOVED.view(crops.read(crop), (SEED, crop, number))
            np.testing.assert_array_equal(kept.of(number)[crop], made)
    wanted = [View(4, 1, False), View(0, 0, True), View(2, 1, True), View(5, 0, False), View(1, 1, True)]
    plain = list(ViewLoader(crops, MOVED, SEED, 2, workers, threads).batches(wanted))
    if not workers:  # other processes are not patched
        monkeypatch.setattr(CropSet, "read", lambda self, index: pytest.fail("decoded again"))
    read = list(ViewLoader(crops, MOVED, SEED, 2, workers, threads, kept).batches(wanted))
    for one, other in zip(plain, read, strict=True):
        for field in ("views", "crops", "numbers", "mirrored", "labels"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_a_fill_that_was_cut_short_goes_on(
    tmp_path: Path, crops: CropSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facekd.training.data.view_rows.BLOCK", 2)
    monkeypatch.setattr("facekd.training.data.view_store.BATCH", 1)

    class Stop(Exception):
        pass

    def stop(done: int, seen: list[int] = []) -> None:  # noqa: B006
        seen.append(done)
        if len(seen) == 5:
            raise Stop

    kept = kept_views(tmp_path / "cache", crops, MOVED, SEED)
    with pytest.raises(Stop):
        keep_views(kept, range(1), crops, MOVED, SEED, tell=stop)
    assert kept.missing(range(1)) == 2  # marked every two: four of the five
    assert np.abs(kept.of(0)[5]).max() == 0
    made: list[int] = []
    again = kept_views(tmp_path / "cache", crops, MOVED, SEED)
    keep_views(again, range(1), crops, MOVED, SEED, tell=made.append)
    assert sum(made) == 2
    whole = kept_views(tmp_path / "other", crops, MOVED, SEED)
    keep_views(whole, range(1), crops, MOVED, SEED)
    np.testing.assert_array_equal(again.of(0), whole.of(0))


@pytest.mark.parametrize("form", ["folder", "zip", "rec"])
def test_crops_that_were_cut_anew_under_old_names_have_others(
    tmp_path: Path, crops: CropSet, form: str
) -> None:
    from facekd.workflows.data import convert

    folder = tmp_path / "set"
    data = folder if form == "folder" else tmp_path / f"set.{form}"

    def key() -> str:
        if form != "folder":
            data.unlink(missing_ok=True)
            convert(folder, data)
        return kept_views(tmp_path / "cache", open_crops([data]), MOVED, SEED).key

    first = key()
    if form == "zip":
        assert key() == first  # of the same bytes, written again
    write_crop(folder / "b" / "1.png", 31)
    assert key() != first


def test_they_belong_to_augmentation_and_seed(tmp_path: Path, crops: CropSet) -> None:
    keys = {
        kept_views(tmp_path, crops, augmentation, seed).key
        for augmentation in (MOVED, Augmentation(shift=2))
        for seed in (0, 1)
    }
    assert len(keys) == 4


def test_a_disk_without_room_is_told_of_first(
    tmp_path: Path, crops: CropSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    kept = kept_views(tmp_path / "cache", crops, MOVED, SEED)
    room = kept.bytes_of(range(1)) + (1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, room - 1))
    with pytest.raises(InputOutput, match="GB are needed, "):
        keep_views(kept, range(1), crops, MOVED, SEED)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, room))
    keep_views(kept, range(1), crops, MOVED, SEED)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 0))
    keep_views(kept, range(1), crops, MOVED, SEED)  # all is there


def test_another_process_maps_the_files_itself(tmp_path: Path, crops: CropSet) -> None:
    kept = kept_views(tmp_path / "cache", crops, MOVED, SEED)
    keep_views(kept, range(1), crops, MOVED, SEED)
    sent = pickle.dumps(kept)
    assert len(sent) < kept.of(0).nbytes  # not the rows themselves
    np.testing.assert_array_equal(pickle.loads(sent).of(0), kept.of(0))
