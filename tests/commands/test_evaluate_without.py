"""``facekd evaluate --without FILE``, against data and lists from which the persons were taken by hand."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.errors import Exit

PEOPLE, PHOTOS = 40, 3
GONE = ("P02", "P17", "P33")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``all`` and its ``pairs.csv``; ``rest`` and ``rest.csv`` without the people in ``gone.txt``."""
    folder = tmp_path_factory.mktemp("without")
    write_people(folder / "all", PEOPLE, PHOTOS, noise=90)
    shutil.copytree(folder / "all", folder / "rest", ignore=shutil.ignore_patterns(*GONE))
    (folder / "gone.txt").write_text("".join(f"{person}\n" for person in GONE))
    lines = []
    for fold in range(8):
        people = [f"P{5 * fold + n:02d}" for n in range(5)]
        lines += [f"{p}/{a}.png,{p}/{b}.png,1,{fold}" for p in people for a, b in combinations((1, 2, 3), 2)]
        lines += [f"{p}/{n}.png,{q}/{n}.png,0,{fold}" for p, q in combinations(people, 2) for n in (1, 2)]
    rest = [line for line in lines if not any(person in line for person in GONE)]
    for name, kept in (("pairs.csv", lines), ("rest.csv", rest)):
        (folder / name).write_text("\n".join(["path1,path2,label,fold", *kept]))
    for person in GONE:  # whoever reads these fails
        (folder / "all" / person / "1.png").write_bytes(b"broken")
    write_tiny_model(folder / "one.onnx")
    write_tiny_model(folder / "two.onnx", seed=1)
    return folder


@pytest.fixture
def numbers(facekd: Callable, place: Path) -> Callable[..., dict]:
    """What ``evaluate --json`` says, without the files' names and the time that it took."""

    def run(command: str, *arguments: object) -> dict:
        ran = facekd(command, place / "one.onnx", *arguments, "--aligned", "--json")
        assert ran.code == Exit.DONE, ran.err
        told = json.loads(ran.out)
        for table in (told, *told["models"], *told.get("cross", [])):
            for key in ("list", "data", "seconds", "photos_per_second", "folds_from"):
                table.pop(key, None)
        return told

    return run


@pytest.mark.parametrize(
    ("command", "protocol"),
    [("evaluate", ["--protocol", "people"]), ("evaluate", ["--pairs"]), ("compatibility", ["--pairs"])],
)
def test_it_is_as_if_they_had_been_taken_by_hand(
    numbers: Callable[..., dict], place: Path, command: str, protocol: list[str]
) -> None:
    lists = [place / "pairs.csv"] if "--pairs" in protocol else [], [place / "rest.csv"]
    models = [place / "two.onnx"]
    whole = [command, *models, "--data", place / "all", *protocol, *lists[0]]
    by_hand = numbers(command, *models, "--data", place / "rest", *protocol, *(lists[1] if lists[0] else []))
    told = numbers(*whole, "--without", place / "gone.txt")
    gone = told.pop("left_out")
    assert told == by_hand
    assert told["photos"]["failures_to_acquire"] == []
    assert numbers(*whole)["photos"]["failures_to_acquire"] != []
    assert (gone["people"], gone["photos"], gone["photos_of_others"], gone["unknown"]) == (3, 9, 0, [])
    stay, everybody = (PEOPLE - 3) * PHOTOS, PEOPLE * PHOTOS
    lost = everybody * (everybody - 1) // 2 - stay * (stay - 1) // 2
    expected = (9, 3 * 4 * 2) if lists[0] else (9, lost - 9)
    assert (gone["comparisons"]["mated"], gone["comparisons"]["non_mated"]) == expected


def test_it_is_said_below_the_table_on_the_page_and_on_stderr(
    facekd: Callable, place: Path, tmp_path: Path
) -> None:
    named = tmp_path / "named.txt"
    named.write_text("\ufeffP02\n\n P17 \nQ1\nP33\nP02\n" + "".join(f"Q{n}\n" for n in range(2, 8)))
    ran = facekd(
        "evaluate", place / "one.onnx", "--data", place / "all", "--pairs", place / "pairs.csv", "--aligned",
        "--without", named, "--report", tmp_path / "page.html", "--scores", tmp_path / "scores.csv",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    assert "7 of these people have no photo: Q1, Q2, Q3, Q4, Q5 and 2 more" in ran.err
    out = " ".join(ran.out.split())
    assert "Left out: 3 people, 9 mated and 24 non-mated comparisons; with them 9 photos." in out
    assert "8 folds as listed; of these, 8 with 24 to 35 pairs are left." in out
    page = (tmp_path / "page.html").read_text()
    assert "9 photos, 9 mated and 24 non-mated comparisons" in page
    assert "3 people" in page
    with (tmp_path / "scores.csv").open() as file:
        people = {line[end].split("/")[0] for line in csv.DictReader(file) for end in ("first", "second")}
    assert people == {f"P{n:02d}" for n in range(PEOPLE)} - set(GONE)


def test_people_found_by_data_check_are_left_out(facekd: Callable, place: Path, tmp_path: Path) -> None:
    """The pack of the test has a folder above the persons', as published ones do; the list has not."""
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as pack:
        for photo in sorted((place / "rest").glob("*/*.png")):
            pack.write(photo, f"lfw/{photo.parent.name}/{photo.name}")
    (tmp_path / "train" / "x").mkdir(parents=True)
    for person in ("P05", "P11"):
        shutil.copy(place / "rest" / person / "1.png", tmp_path / "train" / "x" / f"{person}.png")
    found = facekd(
        "data", "check", tmp_path / "train", "--against", tmp_path / "test.zip", "--aligned",
        "--model", place / "one.onnx", "--people", tmp_path / "near.txt",
    )  # fmt: skip
    assert found.code == Exit.MISFIT
    assert (tmp_path / "near.txt").read_text() == "P05\nP11\n"
    for arguments in (["--pairs", place / "rest.csv"], ["--protocol", "people"]):
        ran = facekd(
            "evaluate", place / "one.onnx", "--data", tmp_path / "test.zip", "--aligned", *arguments,
            "--without", tmp_path / "near.txt",
        )  # fmt: skip
        assert ran.code == Exit.DONE, ran.err
        assert "; with them 6 photos." in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("named", "arguments", "told"),
    [
        (None, ["--data", "all", "--protocol", "people"], "'gone.txt' does not exist"),
        ("\n  \n", ["--data", "all", "--protocol", "people"], "gone.txt: names nobody"),
        ("Q1\nQ2\n", ["--data", "all", "--protocol", "people"], "matches one of its 40 people"),
        ("Q1\n", ["--data", "all", "--pairs", "pairs.csv"], "matches one of its 40 people"),
        ("P00\n", ["--data", "all", "--pairs", "wrong.csv"], "does not compare photos of known people"),
        (
            "A\n",
            ["--data", "set", "--protocol", "identification"],
            "does not compare photos of known people",
        ),
    ],
)
def test_wrong_calls(
    facekd: Callable,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str | None,
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("all", "pairs.csv"):
        Path(name).symlink_to(place / name)
    Path("wrong.csv").write_text("path1,path2,label\n" + "P00/1.png,P01/1.png,1\nP00/1.png,P00/2.png,0\n" * 2)
    for name in ("set/gallery/A/1.png", "set/probe/A/2.png"):
        Path(name).parent.mkdir(parents=True)
        shutil.copy(place / "rest" / "P00" / "1.png", name)
    if named is not None:
        Path("gone.txt").write_text(named)
    ran = facekd("evaluate", place / "one.onnx", *arguments, "--without", "gone.txt")
    assert ran.code == Exit.USAGE, ran.err
    assert told in ran.err
    assert ran.out == ""


def test_a_file_that_is_no_text(facekd: Callable, place: Path) -> None:
    ran = facekd(
        "evaluate", place / "one.onnx", "--data", place / "all", "--protocol", "people", "--without",
        place / "one.onnx",
    )  # fmt: skip
    assert ran.code == Exit.IO
    assert "not a text file" in ran.err
