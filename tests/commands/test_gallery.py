import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from facekd.gallery import Contract, GalleryRecords, Template, database

CONTRACT = Contract("a" * 64, 64, "small", "mtcnn", "arcface-5pt/1")


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.db"
    rng = np.random.default_rng(0)
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for number, name in enumerate(("Ann Lee", "王伟")):
            row = rng.normal(size=64)
            embedding = (row / np.linalg.norm(row)).astype(np.float32)
            with records.transaction():
                records.add(name, [Template(embedding, f"{number:064x}", 0.5, "2024-05-06T07:08:09+00:00")])
    return path


def test_list(facekd, gallery: Path) -> None:
    ran = facekd("gallery", "list", "--gallery", gallery)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "    1  2024-05-06  2024-05-06  Ann Lee",
        "    1  2024-05-06  2024-05-06  王伟",
    ]
    assert "2 enrolled" in ran.err
    assert "small" in ran.err


def test_list_as_json_holds_no_embedding(facekd, gallery: Path) -> None:
    answer = json.loads(facekd("gallery", "list", "--gallery", gallery, "--json").out)
    date = "2024-05-06T07:08:09+00:00"
    assert answer["people"] == [
        {"name": "Ann Lee", "templates": 1, "first": date, "last": date},
        {"name": "王伟", "templates": 1, "first": date, "last": date},
    ]
    assert {key: answer[key] for key in ("model", "space", "dim", "detector", "aligner")} == {
        "model": "small", "space": "a" * 64, "dim": 64, "detector": "mtcnn", "aligner": "arcface-5pt/1"
    }  # fmt: skip


def test_remove(facekd, gallery: Path) -> None:
    ran = facekd("gallery", "remove", "Ann Lee", "--yes", "--gallery", gallery, "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == {"name": "Ann Lee", "templates": 1, "erasure": "done"}
    assert "Ann" not in facekd("gallery", "list", "--gallery", gallery).out
    assert b"Ann Lee" not in gallery.read_bytes()
    again = facekd("gallery", "remove", "Ann Lee", "--yes", "--gallery", gallery)
    assert (again.code, again.out) == (2, "")
    assert "nobody named 'Ann Lee'" in again.err


def test_a_reader_makes_it_pending(facekd, gallery: Path, monkeypatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    reader = sqlite3.connect(gallery, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM people").fetchone()
    ran = facekd("gallery", "remove", "Ann Lee", "--yes", "--gallery", gallery)
    reader.close()
    assert ran.code == 0
    assert "pending" in ran.out
    assert "Another program is reading" in ran.err


def test_without_a_terminal_it_wants_a_yes(facekd, gallery: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115
    assert facekd("gallery", "remove", "Ann Lee", "--gallery", gallery).code == 2
    assert "Ann Lee" in facekd("gallery", "list", "--gallery", gallery).out


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 1), ("n\n", 130, 2), ("\n", 130, 2)])
def test_on_a_terminal_it_asks(facekd, gallery: Path, monkeypatch, typed: str, code: int, left: int) -> None:
    import io

    terminal = io.StringIO(typed)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    ran = facekd("gallery", "remove", "Ann Lee", "--gallery", gallery)
    assert ran.code == code
    assert "Remove Ann Lee (1 photo)?" in ran.err
    with GalleryRecords(gallery) as records:
        assert len(records.people()) == left


def test_files_that_are_no_galleries(facekd, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 20)
    (tmp_path / "empty.db").touch()
    for name in ("text.db", "empty.db", "absent.db", "."):
        for arguments in (("list",), ("remove", "Ann", "--yes")):
            ran = facekd("gallery", *arguments, "--gallery", tmp_path / name)
            assert (ran.code, ran.out) == (5, "")
            assert "Traceback" not in ran.err
    assert not (tmp_path / "absent.db").exists()
