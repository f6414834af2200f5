"""Training data: what is listed, whose it is, what is left out."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from facekd.errors import InputOutput, Misfit, Unreadable, UsageError
from facekd.training.data import open_crops
from facekd.training.data.crops import CropSet, open_identities


def write_crop(path: Path, value: int, side: int = 112) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((side, side, 3), value, np.uint8)
    pixels[:, : side // 2, 0] = 250  # the left half is red
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for person, crops in {"ann": 3, "bob": 2, "cid": 1}.items():
        for number in range(crops):
            write_crop(tmp_path / "known" / person / f"{number}.png", 10 * number)
    for number in range(4):
        write_crop(tmp_path / "web" / "any" / f"{number}.png", 100)
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as pack:
        for number in range(2):
            pack.write(tmp_path / "known" / "ann" / f"{number}.png", f"bobby/{number}.png")
        pack.write(tmp_path / "known" / "ann" / "2.png", "eve/0.png")
    return tmp_path


def test_folders_packs_and_unlabelled_are_one_set(tree: Path) -> None:
    crops = open_crops([tree / "known", tree / "pack.zip"], [tree / "web"])
    assert crops.people == ("ann", "bob", "cid", "bobby", "eve")
    assert crops.counts().tolist() == [3, 2, 1, 2, 1]
    assert crops.labels.tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 4, -1, -1, -1, -1]
    assert crops.describe() == "13 crops: 9 of 5 identities (4 with fewer than three crops), 4 unlabelled"
    pixels = crops.read(7)  # a pack member
    assert pixels[0, 0].tolist() == [250, 10, 10]
    assert pixels[0, 100].tolist() == [10, 10, 10]


def test_merge_exclude_and_doubts(tree: Path) -> None:
    (tree / "same.csv").write_text("label,merge_into,crops\nbobby,bob,2\n")
    (tree / "out.txt").write_text("cid\neve\nweb/any/3.png\nknown/ann/2.png\n")
    (tree / "doubts.csv").write_text("pack,crop\nknown,bob/1.png\npack,bobby/0.png\n")
    crops = open_crops(
        [tree / "known", tree / "pack.zip"], [tree / "web"],
        tree / "same.csv", [tree / "out.txt"], tree / "doubts.csv",
    )  # fmt: skip
    assert crops.people == ("ann", "bob")
    assert crops.counts().tolist() == [2, 2]  # bob/0 and bobby/1; the doubtful stay, unlabelled
    assert len(crops) == 2 + 2 + 2 + 3
    assert int((crops.labels < 0).sum()) == 2 + 3


def test_heldout_identities_are_found_under_either_label(tree: Path) -> None:
    (tree / "same.csv").write_text("label,merge_into\nbobby,bob\n")
    held = open_identities([tree / "known", tree / "pack.zip"], ["bobby"], tree / "same.csv")
    assert held.people == ("bob",)
    assert len(held) == 4
    rest = open_crops(
        [tree / "known", tree / "pack.zip"], merge=tree / "same.csv", exclude=[_list(tree, "bob")]
    )
    assert set(rest.people) == {"ann", "cid", "eve"}
    assert not set(rest.names) & set(held.names)


def _list(tree: Path, *lines: str) -> Path:
    file = tree / "list.txt"
    file.write_text("\n".join(lines))
    return file


def test_a_cap_keeps_evenly_spaced_crops_of_each_and_all_without_a_label(tmp_path: Path) -> None:
    for person, count in (("a", 7), ("b", 2), ("c", 3)):
        for number in range(count):
            write_crop(tmp_path / "known" / person / f"{number}.png", 9 * number)
    for number in range(4):
        write_crop(tmp_path / "unknown" / "x" / f"{number}.png", 9 * number)
    crops = open_crops([tmp_path / "known"], [tmp_path / "unknown"])
    capped = crops.capped(3)
    assert capped.counts().tolist() == [3, 2, 3]
    assert int((capped.labels < 0).sum()) == 4
    assert [name for name in capped.names if name.startswith("a/")] == ["a/0.png", "a/3.png", "a/6.png"]
    assert crops.capped(1).counts().tolist() == [1, 1, 1]
    assert crops.capped(99).names == crops.names


def test_the_digest_names_the_crops(tree: Path) -> None:
    whole = open_crops([tree / "known"])
    assert whole.digest == open_crops([tree / "known"]).digest
    assert whole.digest != open_crops([tree / "known"], exclude=[_list(tree, "cid")]).digest


def test_bad_crops_are_named(tree: Path) -> None:
    write_crop(tree / "known" / "ann" / "9.png", 1, side=100)
    (tree / "known" / "bob" / "9.png").write_bytes(b"not an image")
    (tree / "known" / "cid" / "9.png").write_bytes(b"")
    crops = open_crops([tree / "known"])
    place = {name: index for index, name in enumerate(crops.names)}
    with pytest.raises(Misfit, match=r"ann/9.png: 100 x 100 pixels"):
        crops.read(place["ann/9.png"])
    for name in ("bob/9.png", "cid/9.png"):
        with pytest.raises(Unreadable, match=name):
            crops.read(place[name])


def test_missing_and_empty_data_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputOutput, match="no such file"):
        open_crops([tmp_path / "nowhere"])
    with pytest.raises(InputOutput, match="no crops"):
        open_crops([tmp_path])
    with pytest.raises(InputOutput, match="no training data"):
        open_crops()
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Unreadable, match="no column label, merge_into"):
        open_crops([tmp_path], merge=tmp_path / "bad.csv")


@pytest.mark.needs_faces
def test_the_given_packs_split_as_stated(faces: Path) -> None:
    packs = [faces / f"train-labelled-{n}.zip" for n in (1, 2)]
    wanted = (faces / "protocols" / "heldout_identities.txt").read_text().split()
    held = open_identities(packs, wanted, faces / "same_people.csv")
    assert len(held) == 6741
    assert len(held.people) == 300
    counts = held.counts()
    mated = int((counts * (counts - 1) // 2).sum())
    assert mated == 84_367
    assert round((6741 * 6740 // 2 - mated) / 1e6, 1) == 22.6


def test_a_share_of_the_crops_lies_within_a_larger_one() -> None:
    names = tuple(f"p{k % 40}/{k}.png" for k in range(2000))
    crops = CropSet((), np.zeros(2000, np.int32), names, np.arange(2000) % 40, tuple(map(str, range(40))))
    small, large = (set(crops.sampled(share).names) for share in (0.1, 0.5))
    assert small < large < set(names)
    # binomial: within five deviations
    assert abs(len(small) - 200) < 5 * (2000 * 0.1 * 0.9) ** 0.5
    assert abs(len(large) - 1000) < 5 * (2000 * 0.25) ** 0.5
    alone = crops.take(crops.labels < 7).sampled(0.1)
    assert set(alone.names) == {n for n in small if int(n[1:].split("/")[0]) < 7}


def test_weights_of_packs_and_folders(tree: Path) -> None:
    crops = open_crops([tree / "known", tree / "pack.zip"], [tree / "web"])
    found = crops.weighted({"known": 2.0, "known/bob": 0.5, "web/any/": 3.0})
    assert found.tolist() == [2, 2, 2, 0.5, 0.5, 2, 1, 1, 1, 3, 3, 3, 3]
    assert crops.weighted({"pack/eve": 4.0}).tolist() == [1] * 8 + [4] + [1] * 4
    with pytest.raises(UsageError, match="no training crops in 'know'") as told:
        crops.weighted({"know": 2.0})
    assert "'known/ann'" in (told.value.fix or "")
