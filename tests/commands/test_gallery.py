import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from facekd.gallery import Contract, GalleryRecords, Template, database

STORED = Path(__file__).parent.parent / "stored" / "0.1.0"
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
    assert json.loads(ran.out) == {
        "schema": "gallery-remove/1",
        "gallery": str(gallery),
        "name": "Ann Lee",
        "templates": 1,
        "erasure": "done",
    }
    assert "Ann" not in facekd("gallery", "list", "--gallery", gallery).out
    assert b"Ann Lee" not in gallery.read_bytes()
    again = facekd("gallery", "remove", "Ann Lee", "--yes", "--gallery", gallery)
    assert (again.code, again.out) == (2, "")
    assert "'Ann Lee' is not enrolled" in again.err


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


class TestOf010:
    """A gallery and a model that version 0.1.0 made."""

    @pytest.fixture
    def old(self, tmp_path: Path) -> Path:
        return Path(shutil.copy(STORED / "gallery.db", tmp_path / "old.db"))

    def schema(self, gallery: Path) -> int:
        db = sqlite3.connect(gallery)
        found = db.execute("PRAGMA user_version").fetchone()[0]
        db.close()
        return found

    def test_reading_leaves_it_as_it_is(self, facekd, old: Path, photos: Path) -> None:
        content = old.read_bytes()
        listed = facekd("gallery", "list", "--gallery", old, "--json")
        assert [person["name"] for person in json.loads(listed.out)["people"]] == ["Ann Lee", "Bob", "Zoë 李"]
        claim = ("verify", "--claim", "Ann Lee", photos / "a.jpg", "--gallery", old)
        ran = facekd(*claim, "--model", STORED / "model.onnx", "--json")
        assert ran.code in (0, 1), ran.err
        assert json.loads(ran.out)["templates"] == 2
        assert (old.read_bytes(), self.schema(old)) == (content, 1)

    def test_its_accuracy_is_measured_as_it_is(self, facekd, old: Path, photos: Path, tmp_path: Path) -> None:
        content = old.read_bytes()
        for name in ("Bob", "stranger"):
            (tmp_path / "probes" / name).mkdir(parents=True)
        shutil.copy(photos / "a.jpg", tmp_path / "probes" / "Bob")
        shutil.copy(photos / "b.jpg", tmp_path / "probes" / "stranger")
        ran = facekd(
            "gallery", "evaluate", "--gallery", old, "--probes", tmp_path / "probes",
            "--model", STORED / "model.onnx", "--json",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["comparisons"]["mated"] == 1
        assert old.read_bytes() == content

    def test_enrolling_migrates_it(self, facekd, old: Path, photos: Path) -> None:
        ran = facekd("enroll", "Eve", photos / "a.jpg", "--gallery", old, "--model", STORED / "model.onnx")
        assert ran.code == 0, ran.err
        assert self.schema(old) > 1
        assert facekd("gallery", "remove", "Bob", "--yes", "--gallery", old).code == 0
        listed = json.loads(facekd("gallery", "list", "--gallery", old, "--json").out)
        assert [person["name"] for person in listed["people"]] == ["Ann Lee", "Eve", "Zoë 李"]


def test_a_damaged_template_is_no_score(facekd, operator: Path, photos: Path) -> None:
    assert facekd("enroll", "Ann", photos / "a.jpg").code == 0
    claim = ("verify", "--claim", "Ann", photos / "b.jpg", "--threshold", 0.5)
    assert facekd(*claim).code == 0
    db = sqlite3.connect(operator)
    (blob,) = db.execute("SELECT embedding FROM templates").fetchone()
    negated = (-np.frombuffer(blob, "<f4")).astype("<f4").tobytes()
    db.execute("UPDATE templates SET embedding = ?", (negated,))
    db.commit()
    db.close()
    ran = facekd(*claim, "--json")
    answer = json.loads(ran.out)
    assert (ran.code, answer["score"], answer["failure"]["reason"]) == (5, None, "unreadable")
    assert "a template of 'Ann' cannot be read" in ran.err
    assert facekd("gallery", "remove", "Ann", "--yes").code == 0


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
