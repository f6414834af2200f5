"""Crops that cannot be trained on are named all at once, a line each, and before training begins."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_run import make_place, recipe, run
from test_crops import write_crop

from facekd.errors import Misfit, Unreadable, UsageError
from facekd.training import Augmentation
from facekd.training.data import View, ViewLoader, open_crops, require_usable


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def test_all_bad_crops_are_listed_once(place: Path) -> None:
    crops = place / "crops"
    (crops / "p0" / "0.png").write_bytes(b"not an image")
    (crops / "p1" / "1.png").write_bytes(b"")
    write_crop(crops / "p2" / "2.png", 10, side=100)
    good = (crops / "p3" / "3.png").read_bytes()
    (crops / "p3" / "3.png").write_bytes(good[: len(good) // 2])
    jpeg = cv2.imencode(".jpg", cv2.imread(str(crops / "p0" / "1.png")))[1].tobytes()
    (crops / "p0" / "5.jpg").write_bytes(jpeg[:-40])
    with pytest.raises(Unreadable) as told:
        run(place, "run", recipe(place))
    first, *lines = told.value.cause.splitlines()
    assert first == "5 of 17 crops cannot be used"
    assert [line.strip().removeprefix(str(crops) + "/") for line in lines] == [
        "p0/0.png: not an image",
        "p0/5.jpg: truncated",
        "p1/1.png: not an image",
        "p2/2.png: 100 x 100 pixels, not 112",
        "p3/3.png: truncated",
    ]
    assert not (place / "run").exists()


def test_other_sizes_alone_are_a_misfit(tmp_path: Path) -> None:
    for number in range(3):
        write_crop(tmp_path / "set" / "ann" / f"{number}.png", 10, side=100 + number)
    with pytest.raises(Misfit, match="3 of 3 crops"):
        require_usable(open_crops([tmp_path / "set"]), tmp_path / "cache")


def test_good_crops_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_crop(tmp_path / "set" / "ann" / "0.png", 10)
    crops = open_crops([tmp_path / "set"])
    require_usable(crops, tmp_path / "cache")
    monkeypatch.setattr(type(crops), "encoded", lambda *_: pytest.fail("read again"))
    require_usable(crops, tmp_path / "cache")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_header_does_not_show_is_listed_at_the_first_read(tmp_path: Path, workers: int) -> None:
    """A whole file with a good header whose picture is damaged, in a process of its own and without."""
    for number in range(8):
        write_crop(tmp_path / "set" / "ann" / f"{number}.png", 10 * number)
    for number in (3, 6):
        file = tmp_path / "set" / "ann" / f"{number}.png"
        damaged = bytearray(file.read_bytes())
        start = damaged.index(b"IDAT")
        damaged[start + 4 : start + 30] = b"\xff" * 26
        file.write_bytes(damaged)
    crops = open_crops([tmp_path / "set"])
    require_usable(crops, tmp_path / "cache")
    loader = ViewLoader(crops, Augmentation(), 0, 4, workers)
    with pytest.raises(Unreadable) as told:
        list(loader.batches([View(k, 0, False) for k in range(8)]))
    first, *lines = told.value.cause.splitlines()
    assert first == "2 of 8 crops cannot be used"
    assert [Path(line.split(":")[0]).name for line in lines] == ["3.png", "6.png"]
    assert "Traceback" not in str(told.value)


def test_a_pack_in_one_colour_shows_no_faces(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "black.zip", "w") as pack:
        black = cv2.imencode(".png", np.zeros((112, 112, 3), np.uint8))[1].tobytes()
        for number in range(5):
            pack.writestr(f"{'ann' if number % 2 else 'bob'}/{number}.png", black)
    with pytest.raises(UsageError, match=r"black.zip: all 5 crops .* of one colour: there are no faces"):
        require_usable(open_crops([tmp_path / "black.zip"]), tmp_path / "cache")


def test_one_identity_and_few_crops_are_said(place: Path) -> None:
    arcface = '[[loss]]\nname = "arcface"\n'
    one = ("crops", "one")
    (place / "one").mkdir()
    (place / "crops" / "p1").rename(place / "one" / "p1")
    nobody = ('heldout = "heldout.txt"', "")
    with pytest.raises(UsageError, match=r"'arcface' tells identities apart, but .* has one identity, p1"):
        run(place, "run", recipe(place, "", arcface, one=one, nobody=nobody))
    cosine = '[[loss]]\nname = "cosine"\n'
    run(place, "run", recipe(place, losses=cosine, one=one, nobody=nobody), stop_after=1)
    assert "note: 4 crops are fewer than a batch of 8" in (place / "run" / "train.log").read_text()
