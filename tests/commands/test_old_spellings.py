"""The names of version 0.1.0 still work, with a note of the new name, and print the same document."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.card.onnx_file import read_card
from facekd.errors import Exit
from facekd.gallery import Contract, GalleryRecords, Template
from facekd.runtime import load_embedder

GOES = "; the old spelling will be removed in the next version"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ``one.onnx``, ``two.onnx``, ``people/``, ``pairs.csv``, ``scores.csv``, ``staff.db`` lie."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEKD_MODEL", raising=False)
    write_tiny_model(tmp_path / "one.onnx")
    write_tiny_model(tmp_path / "two.onnx", seed=1)
    people = write_people(tmp_path / "people", people=12, photos=3, noise=90)
    lines = ["path1,path2,label"]
    for p in range(12):
        lines += [f"P{p:02d}/1.png,P{p:02d}/{n}.png,1" for n in (2, 3)]
        lines += [f"P{p:02d}/1.png,P{(p + n) % 12:02d}/{n}.png,0" for n in (2, 3)]
    Path("pairs.csv").write_text("\n".join(lines))
    Path("scores.csv").write_text("score,label\n" + "0.7,1\n0.1,0\n0.4,1\n0.5,0\n" * 20)
    contract = Contract(read_card(Path("one.onnx"))[0].space, 32, "one", "mtcnn", "facekd-five-points-2")
    embedder = load_embedder(Path("one.onnx"), threads=1)
    with GalleryRecords(Path("staff.db"), contract, create=True) as records, records.transaction():
        for name in ("P00", "P01", "P02"):
            file = people / name / "1.png"
            row = embedder.embed(cv2.imread(str(file))[None, ..., ::-1])[0]
            records.add(name, [Template(row, hashlib.sha256(file.read_bytes()).hexdigest(), 1.0)])
    return tmp_path


def _document(text: str) -> dict:
    told = json.loads(text)
    for key in ("seconds", "photos_per_second"):
        told.pop(key, None)
    return told


LISTED = ("--data", "people", "--aligned", "--pairs", "pairs.csv", "--json")
PROBES = ("--gallery", "staff.db", "--probes", "people", "--model", "one.onnx", "--aligned", "--json")


@pytest.mark.parametrize(
    ("old", "new", "notes"),
    [
        (
            ("evaluate", "one.onnx", *LISTED, "--roc", "a.svg"),
            ("evaluate", "one.onnx", *LISTED, "--plot", "b.svg"),
            ["--roc is now called --plot"],
        ),
        (
            ("evaluate", "--from-scores", "scores.csv", "--json", "--roc=a.svg"),
            ("evaluate-scores", "scores.csv", "--json", "--plot=b.svg"),
            [
                "--roc is now called --plot",
                "'facekd evaluate --from-scores CSV' is now 'facekd evaluate-scores CSV'",
            ],
        ),
        (
            ("evaluate", "--json", "--from-scores=scores.csv"),
            ("evaluate-scores", "scores.csv", "--json"),
            ["'facekd evaluate --from-scores CSV' is now 'facekd evaluate-scores CSV'"],
        ),
        (
            ("evaluate", "one.onnx", "two.onnx", "--cross", *LISTED),
            ("compatibility", "one.onnx", "two.onnx", *LISTED),
            ["'facekd evaluate A B --cross' is now 'facekd compatibility A B'"],
        ),
        (
            ("evaluate", *PROBES),
            ("gallery", "evaluate", *PROBES),
            ["'facekd evaluate --gallery' is now 'facekd gallery evaluate'"],
        ),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else "",
)
def test_an_old_call_gives_the_old_document(
    facekd: Callable, place: Path, old: tuple[str, ...], new: tuple[str, ...], notes: list[str]
) -> None:
    was, now = facekd(*old), facekd(*new)
    assert (was.code, now.code) == (Exit.DONE, Exit.DONE), was.err + now.err
    told = [line for line in was.err.splitlines() if GOES in line]
    assert told == [f"note: {note}{GOES}" for note in notes]
    assert GOES not in now.err
    before, after = _document(was.out), _document(now.out)
    assert before.pop("schema") == "evaluate/1"
    assert after.pop("schema") == f"{'gallery-evaluate' if new[0] == 'gallery' else new[0]}/1"
    assert before == after
    if Path("b.svg").exists():
        assert "<svg" in Path("a.svg").read_text()
    hushed = facekd(*old, "-q")
    assert (hushed.code, hushed.err) == (Exit.DONE, "")
    assert _document(hushed.out) == before | {"schema": "evaluate/1"}


def test_write_compatible_is_write(facekd: Callable, place: Path) -> None:
    ran = facekd("evaluate", "one.onnx", "two.onnx", "--cross", "--write-compatible", *LISTED)
    # 24 comparisons are too few to say whether they fit
    assert ran.code == Exit.USAGE
    assert "cannot be decided: insufficient data" in ran.err
    assert f"note: --write-compatible is now called --write{GOES}" in ran.err


def test_an_old_benchmark(facekd: Callable, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Asked(Exception):
        pass

    def benchmark_models(teacher: Path, students: tuple[Path, ...], *_: object, **__: object) -> None:
        asked.append((teacher, students))
        raise Asked

    monkeypatch.setattr("facekd.workflows.benchmark_models", benchmark_models)
    ran = facekd(
        "benchmark", "--student", "two.onnx", "--teacher=one.onnx", "--out", "r.html", "--student", "one.onnx"
    )
    assert asked == [(Path("one.onnx"), (Path("two.onnx"), Path("one.onnx")))]
    form = "'facekd benchmark --teacher TEACHER --student STUDENT' is now 'facekd benchmark TEACHER STUDENT'"
    for note in ("--out is now called --report", form):
        assert f"note: {note}{GOES}" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("evaluate", "one.onnx", "--from-scores", "scores.csv"), Exit.USAGE, "unexpected extra argument"),
        (("evaluate", "--from-scores", "scores.csv", "--data", "people"), Exit.USAGE, "No such option"),
        (("evaluate", "--from-scores", "absent.csv"), Exit.USAGE, "'absent.csv' does not exist"),
        (("evaluate", "--from-scores"), Exit.USAGE, "Missing argument 'CSV'"),
        (("evaluate", "one.onnx", "--cross", *LISTED), Exit.USAGE, "Missing argument 'OTHER'"),
        (("evaluate", "one.onnx", *PROBES), Exit.USAGE, "unexpected extra argument"),
        (("evaluate", "--gallery", "staff.db"), Exit.USAGE, "Missing option '--probes'"),
        (("evaluate", "one.onnx", "two.onnx", "--write-compatible", *LISTED), Exit.USAGE, "No such option"),
        (("benchmark", "--teacher", "one.onnx"), Exit.USAGE, "Missing argument 'STUDENT...'"),
        (("benchmark", "--teacher"), Exit.USAGE, "Missing argument 'TEACHER'"),
    ],
)
def test_wrong_calls(
    facekd: Callable, place: Path, arguments: tuple[str, ...], code: Exit, told: str
) -> None:
    ran = facekd(*(word for word in arguments if word != "--json"))
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err


def test_help_tells_no_old_spelling(facekd: Callable) -> None:
    for command, words in (
        ("evaluate", ("--roc", "--from-scores", "--cross", "--write-compatible", "--gallery", "--model")),
        ("benchmark", ("--teacher", "--student", "--out")),
    ):
        told = facekd(command, "--help").out
        assert not [word for word in words if word in told]
