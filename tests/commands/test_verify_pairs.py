"""Many pairs of photos in one call."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import zipfile
from itertools import combinations
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from facekd.card import Calibration, Counts
from facekd.preprocess import ALIGNER, open_source
from facekd.workflows import PhotoFile, PhotoPair, Recognizer, compare_pairs

PAIRS = "a,b\na.jpg,b.jpg\na.jpg,mirrored.jpg\na.jpg,blank.jpg\ncut.jpg,blank.jpg\nabsent.jpg,a.jpg\n"


@pytest.fixture
def listed(tmp_path: Path, photos: Path) -> Path:
    shutil.copytree(photos, tmp_path / "in")
    file = tmp_path / "in" / "pairs.csv"
    file.write_text(PAIRS)
    return file


def rows(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out)))


def test_every_pair_has_its_answer(facekd, operator: Path, listed: Path, tiny: Path) -> None:
    ran = facekd("verify", "--pairs", listed, "--threshold", 0.9)
    assert ran.code == 5  # the gravest: a photo is not there
    found = rows(ran.out)
    assert [(row["answer"], row["reason"]) for row in found] == [
        ("same", ""), ("different", ""), ("", "no_face"), ("", "unreadable"), ("", "io")
    ]  # fmt: skip
    recognizer = Recognizer(tiny)
    one, other = (recognizer.recognise(listed.parent / f).embedding for f in ("a.jpg", "mirrored.jpg"))
    assert float(found[1]["score"]) == pytest.approx(float(one @ other), abs=1e-5)
    assert ran.err.splitlines()[-1] == (
        "5 comparisons: 1 same, 1 different, 3 without an answer (1 no_face, 1 unreadable, 1 io); "
        "threshold 0.9000"
    )
    assert ran.err.count("blank.jpg") == 1


def test_answers_alone_end_with_0(facekd, operator: Path, listed: Path) -> None:
    listed.write_text("a,b\na.jpg,mirrored.jpg\n")
    ran = facekd("verify", "--pairs", listed, "--threshold", 0.9999)
    assert (ran.code, rows(ran.out)[0]["answer"]) == (0, "different")
    listed.write_text("a,b\na.jpg,blank.jpg\n")
    assert facekd("verify", "--pairs", listed, "--threshold", 0.9999).code == 3


def test_json_lines(facekd, operator: Path, listed: Path) -> None:
    ran = facekd("verify", "--pairs", listed, "--threshold", 0.9, "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert {line["schema"] for line in lines} == {"verify-pair/1"}
    assert [(line["a"], line["b"], line["same"]) for line in lines] == [
        ("a.jpg", "b.jpg", True), ("a.jpg", "mirrored.jpg", False), ("a.jpg", "blank.jpg", None),
        ("cut.jpg", "blank.jpg", None), ("absent.jpg", "a.jpg", None),
    ]  # fmt: skip
    assert all(line.keys() == lines[0].keys() for line in lines)
    assert (lines[0]["threshold"], lines[0]["fmr"], lines[0]["model"]) == (0.9, None, "tiny")
    assert lines[0]["failure"] is None
    assert lines[2]["failure"]["photo"] == str(listed.parent / "blank.jpg")
    assert [line["failure"]["reason"] for line in lines[2:]] == ["no_face", "unreadable", "io"]
    assert "embedding" not in ran.out


@pytest.mark.parametrize(
    "text",
    [
        '\ufeffB,A,label\r\n"b.jpg","a.jpg",1\r\n,,\r\n',
        '{"a": "a.jpg", "b": "b.jpg", "label": 1}\n\n',
        '\ufeff\n{"b": "b.jpg", "a": ".\\\\a.jpg"}',
    ],
)
def test_lists_as_people_and_programs_write_them(facekd, operator: Path, listed: Path, text: str) -> None:
    listed.write_text(text, encoding="utf-8", newline="")
    ran = facekd("verify", "--pairs", listed, "--threshold", 0.9)
    assert ran.code == 0, ran.err
    assert [(row["a"].removeprefix(".\\"), row["b"]) for row in rows(ran.out)] == [("a.jpg", "b.jpg")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.jpg,b.jpg\n", "its first line is 'a.jpg,b.jpg'"),
        ("a,b\na.jpg\n", "line 2: expected 2 columns, found 1"),
        ("a,b\na.jpg,b.jpg\na.jpg,\n", "line 3: expected two photos"),
        ("a,b\n", "contains no pairs"),
        ("", "its first line is ''"),
        ('{"a": "a.jpg"}\n', "line 1: expected two photos"),
        ('{"a": "a.jpg", "b": "b.jpg"}\n{"a": 1, "b": "b.jpg"}\n', "line 2: expected two photos"),
        ('{"a": "a.jpg", "b": "b.jpg"}\n{"a"\n', "line 2: not JSON"),
        ('{"a": "a.jpg", "b": "b.jpg"}\n' + "[" * 100_000, "line 2: not JSON"),
    ],
)
def test_a_broken_list_is_told_before_anything_is_compared(
    facekd, operator: Path, listed: Path, text: str, told: str
) -> None:
    listed.write_text(text)
    ran = facekd("verify", "--pairs", listed, "--threshold", 0.9)
    assert (ran.code, ran.out) == (5, "")
    assert told in ran.err


def test_over_standard_input(facekd, operator: Path, listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(listed.parent)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,b\na.jpg,c.jpg\n")))
    ran = facekd("verify", "--pairs", "-", "--threshold", 0.9)
    assert (ran.code, rows(ran.out)[0]["answer"]) == (0, "same")


@pytest.fixture
def folder(tmp_path: Path, photos: Path) -> Path:
    (tmp_path / "all" / "deep").mkdir(parents=True)
    for name in ("a.jpg", "mirrored.jpg", "deep/b.jpg", "two.jpg"):
        shutil.copy(photos / Path(name).name, tmp_path / "all" / name)
    return tmp_path / "all"


def test_every_photo_with_every_other(facekd, operator: Path, folder: Path, tmp_path: Path) -> None:
    ran = facekd("verify", "--all", folder, "--threshold", 0.9)
    assert ran.code == 0
    names = ["a.jpg", "deep/b.jpg", "mirrored.jpg", "two.jpg"]
    assert [(row["a"], row["b"]) for row in rows(ran.out)] == list(combinations(names, 2))
    assert rows(ran.out)[0]["answer"] == "same"
    assert ran.err.count("two.jpg: 2 faces, took the one at") == 1
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as pack:
        for name in names:
            pack.write(folder / name, name)
    assert facekd("verify", "--all", tmp_path / "all.zip", "--threshold", 0.9).out == ran.out


def test_too_many_pairs_of_a_folder(facekd, operator: Path, folder: Path) -> None:
    ran = facekd("verify", "--all", folder, "--threshold", 0.9, "--max-pairs", 5)
    assert (ran.code, ran.out) == (2, "")
    assert "4 photos are 6 pairs, more than 5" in ran.err
    assert "--max-pairs 6 compares them anyway." in ran.err
    assert len(rows(facekd("verify", "--all", folder, "--threshold", 0.9, "--max-pairs", 6).out)) == 6
    (folder / "one").mkdir()
    shutil.copy(folder / "a.jpg", folder / "one")
    ran = facekd("verify", "--all", folder / "one", "--threshold", 0.9)
    assert (ran.code, "contains 1 photos, but at least two are needed" in ran.err) == (5, True)


def test_the_cards_threshold_and_what_its_rate_comes_to(
    facekd, operator: Path, listed: Path, tmp_path: Path
) -> None:
    counts = Counts(mated=100, non_mated=100_000, false_matches=100, false_non_matches=1)
    entry = Calibration(
        fmr=1e-3, threshold=0.9, low=8e-4, high=1.2e-3, data="held-out people", counts=counts,
        detector="mtcnn", aligner=ALIGNER,
    )  # fmt: skip
    model = write_tiny_model(tmp_path / "calibrated.onnx", calibration=(entry,))
    listed.write_text("a,b\n" + "a.jpg,b.jpg\n" * 1000)
    ran = facekd("verify", "--pairs", listed, "--model", model)
    assert ran.code == 0
    assert ran.err.splitlines()[-2:] == [
        "1,000 comparisons: 1,000 same, 0 different, 0 without an answer; threshold 0.9000 (FMR 0.001)",
        "at FMR 0.001, about 1 of 1,000 comparisons of different people match",
    ]
    assert facekd("verify", "--pairs", listed, "--fmr", 1e-4, "--model", model).code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pairs", "pairs.csv", "a.jpg"),
        ("--pairs", "pairs.csv", "--all", "."),
        ("--all", ".", "--claim", "Ann"),
        ("--pairs", "pairs.csv"),  # no threshold is known
    ],
)
def test_calls_that_make_no_sense(facekd, operator: Path, listed: Path, arguments, monkeypatch) -> None:
    monkeypatch.chdir(listed.parent)
    ran = facekd("verify", *arguments)
    assert (ran.code, ran.out) == (2, "")


class Counting(Recognizer):
    """Notes which photos it is asked to look at."""

    looked: list[str]

    def recognise(self, data: object, name: str = "", on_many: str = "best"):
        self.looked = [*getattr(self, "looked", []), Path(name).name]
        return super().recognise(data, name, on_many)


def test_a_photo_is_looked_at_once_while_it_is_kept(photos: Path, tiny: Path) -> None:
    source = open_source(photos)
    names = ["a.jpg", "blank.jpg", "b.jpg"]
    pairs = [
        PhotoPair(a, b, (PhotoFile(source, a), PhotoFile(source, b)))
        for a, b in [*combinations(names, 2), *combinations(names, 2)]
    ]
    recognizer = Counting(tiny, threshold=0.9)
    answers = list(compare_pairs(recognizer, pairs))
    assert recognizer.looked == names
    assert [answer.same for answer in answers] == [None, True, None] * 2
    bounded = Counting(tiny, threshold=0.9)
    assert list(compare_pairs(bounded, pairs, kept=1)) == answers
    assert len(bounded.looked) > len(names)
