"""Names in lists that match nothing are reported, and people to be held out are never trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_crops import write_crop

from facekd.errors import RecipeError
from facekd.training.data import open_crops, open_identities, read_list


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for person in ("ann", "bob", "bobby", "cid"):
        write_crop(tmp_path / "known" / person / "0.png", 10)
    return tmp_path


def listed(tree: Path, text: str, name: str = "list.txt") -> Path:
    file = tree / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_byte_order_mark_hides_nobody(tree: Path) -> None:
    held = listed(tree, "\ufeffann\ncid\n")
    assert read_list(held) == ["ann", "cid"]
    assert open_crops([tree / "known"], heldout=held).people == ("bob", "bobby")
    merge = listed(tree, "\ufefflabel,merge_into\nbobby,bob\n", "same.csv")
    assert open_crops([tree / "known"], merge=merge).people == ("ann", "bob", "cid")


def test_all_held_out_names_that_match_nobody_are_a_fault(tree: Path) -> None:
    held = listed(tree, "ann\nana\ncid\nCid\n")
    with pytest.raises(RecipeError) as told:
        open_crops([tree / "known"], heldout=held)
    assert told.value.cause == (f"{held}: 2 of 4 held-out identities are not in the labelled data: ana, Cid")
    with pytest.raises(RecipeError, match="the list matches nothing in the labelled data: x, y"):
        open_crops([tree / "known"], heldout=listed(tree, "x\ny\n"))
    write_crop(tree / "flat" / "1.png", 10)
    with pytest.raises(RecipeError, match=r"matches nothing .* has no folders, and so no identities"):
        open_crops([tree / "flat"], heldout=listed(tree, "ann\n"))


def test_whoever_is_held_out_is_so_under_every_label(tree: Path) -> None:
    merge = listed(tree, "label,merge_into\nbobby,bob\n", "same.csv")
    for name in ("bob", "bobby"):
        held = listed(tree, name)
        trained = open_crops([tree / "known"], merge=merge, heldout=held)
        chosen = open_identities([tree / "known"], [name], merge)
        assert trained.people == ("ann", "cid")
        assert chosen.people == ("bob",)
        assert not set(trained.names) & set(chosen.names)


def test_other_names_that_match_nothing_are_counted(tree: Path) -> None:
    said: list[str] = []
    exclude = [listed(tree, "cid\nzoe\nknown/ann/7.png\n", "out.txt"), listed(tree, "a\nb\n", "other.txt")]
    merge = listed(tree, "label,merge_into\nbobby,bob\nbobbie,bob\n", "same.csv")
    doubts = listed(tree, "pack,crop\nknown,bob/0.png\n", "doubts.csv")
    crops = open_crops([tree / "known"], merge=merge, exclude=exclude, doubts=doubts, warn=said.append)
    assert crops.people == ("ann", "bob")
    assert said == [
        f"{exclude[0]}: 2 of 3 names match nothing: zoe, known/ann/7.png",
        f"{exclude[1]}: the list matches nothing in the training data (a, b)",
        f"{merge}: 1 of 2 names match nothing: bobbie",
    ]
    said.clear()
    many = listed(tree, "ann\n" + "".join(f"n{k}\n" for k in range(1200)), "many.txt")
    open_crops([tree / "known"], exclude=[many], warn=said.append)
    assert said == [f"{many}: 1,200 of 1,201 names match nothing: n0, n1, n2, n3, n4 and 1,195 more"]
