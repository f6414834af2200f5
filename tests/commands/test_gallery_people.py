"""gallery show, rename, merge, remove --photo."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from made_galleries import embedding
from tiny_model import write_tiny_model

from facekd.card import Calibration, Counts, read_card
from facekd.gallery import Contract, GalleryRecords, Template

DIM = 64
DATE = "2024-05-06T07:08:09+00:00"
#: names that would do harm where a name becomes code, a path, a formula or a terminal's command
HARMFUL = (
    "Robert'); DROP TABLE people;--", '" OR 1=1 --', "../../etc/passwd", "/etc/passwd", "=HYPERLINK(0)",
    "@SUM(1)", "+1", "-rf", "--yes", "%s%n", "$(touch owned)", "a|b", "{}", "<b>",
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    counts = Counts(mated=100, non_mated=100_000, false_matches=100, false_non_matches=1)
    entries = tuple(
        Calibration(
            fmr=fmr, threshold=threshold, low=fmr / 2, high=fmr * 2, data="made up", counts=counts,
            detector="mtcnn", aligner="a",
        )
        for fmr, threshold in ((1e-2, 0.4), (1e-3, 0.6))
    )  # fmt: skip
    return write_tiny_model(tmp_path / "model.onnx", dim=DIM, calibration=entries)


def contract(model: Path) -> Contract:
    return Contract(read_card(model)[0].space, DIM, "model", "mtcnn", "a")


def near(seed: int, noise: int) -> np.ndarray:
    row = embedding(seed) + 0.5 * embedding(1000 + noise)
    return (row / np.linalg.norm(row)).astype(np.float32)


@pytest.fixture
def gallery(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ann has two names; Bo looks like nobody. Ann and Anne have one photo in common."""
    path = tmp_path / "gallery.db"
    people = {
        "Ann": [(near(1, 0), "a" * 64), (near(1, 1), "b" * 64)],
        "Anne": [(near(1, 1), "b" * 64), (near(1, 2), "c" * 64)],
        "Bo": [(near(2, 0), "d" * 64)],
    }
    with GalleryRecords(path, contract(model), create=True) as records, records.transaction():
        for name, photos in people.items():
            records.add(name, [Template(row, photo, 0.5, DATE) for row, photo in photos])
    monkeypatch.setenv("FACEKD_GALLERY", str(path))
    return path


def names(facekd) -> list[str]:
    return [person["name"] for person in json.loads(facekd("gallery", "list", "--json").out)["people"]]


def actions(gallery: Path) -> list[tuple]:
    db = sqlite3.connect(gallery)
    found = db.execute("SELECT action, person, templates FROM audit WHERE action != 'add'").fetchall()
    db.close()
    return found


class TestShow:
    def test_photos_without_embeddings(self, facekd, gallery: Path) -> None:
        ran = facekd("gallery", "show", "Ann")
        assert ran.out.splitlines() == [f"{'a' * 12}  2024-05-06  0.50", f"{'b' * 12}  2024-05-06  0.50"]
        assert "Ann, number 1: 2 photos" in ran.err
        assert json.loads(facekd("gallery", "show", "Ann", "--json").out) == {
            "schema": "gallery-show/1", "gallery": str(gallery), "name": "Ann", "number": 1,
            "photos": [
                {"id": one * 12, "sha256": one * 64, "enrolled": DATE, "quality": 0.5} for one in "ab"
            ],
        }  # fmt: skip

    def test_nobody(self, facekd, gallery: Path) -> None:
        ran = facekd("gallery", "show", "Eve", "--json")
        assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (2, "unknown_person")


class TestRename:
    def test_it_is_done(self, facekd, gallery: Path) -> None:
        ran = facekd("gallery", "rename", "Bo", "Bo Smith", "--json")
        assert json.loads(ran.out) == {
            "schema": "gallery-rename/1", "gallery": str(gallery), "name": "Bo Smith",
            "renamed_from": "Bo", "erasure": "done",
        }  # fmt: skip
        assert names(facekd) == ["Ann", "Anne", "Bo Smith"]

    def test_a_name_that_is_taken_is_refused(self, facekd, gallery: Path) -> None:
        ran = facekd("gallery", "rename", "Ann", "Anne")
        assert (ran.code, ran.out) == (2, "")
        assert "facekd gallery merge Anne Ann" in ran.err

    @pytest.mark.parametrize("name", HARMFUL)
    def test_a_name_is_text_and_nothing_else(self, facekd, gallery: Path, tmp_path: Path, name: str) -> None:
        before = set(tmp_path.iterdir())
        assert facekd("gallery", "rename", "--", "Bo", name).code == 0
        assert name in names(facekd)
        assert json.loads(facekd("gallery", "show", "--json", "--", name).out)["name"] == name
        assert not any(line.startswith(name) for line in facekd("gallery", "list").out.splitlines())
        assert facekd("gallery", "rename", "--", name, "Bo").code == 0
        assert names(facekd) == ["Ann", "Anne", "Bo"]
        assert set(tmp_path.iterdir()) == before

    @pytest.mark.parametrize("name", ["a\x1b]0;owned\x07", "a\nb", "a\x9bb", "\u202eevil"])
    def test_a_name_that_a_terminal_would_obey(self, facekd, gallery: Path, name: str) -> None:
        ran = facekd("gallery", "rename", "Bo", name)
        assert ran.code == 2
        assert name not in ran.err
        db = sqlite3.connect(gallery)  # as damage, or version 0.1.0, may have left it
        db.execute("UPDATE people SET name = ? WHERE name = 'Bo'", (name,))
        db.commit()
        db.close()
        for arguments in (("list",), ("show", name), ("rename", name, "Bo")):
            ran = facekd("gallery", *arguments)
            assert ran.code == 0
            assert name not in ran.out + ran.err


class TestMerge:
    def test_people_who_look_alike(self, facekd, gallery: Path, model: Path) -> None:
        ran = facekd("gallery", "merge", "Ann", "Anne", "--yes", "--model", model, "--json")
        assert ran.code == 0, ran.err
        answer = json.loads(ran.out)
        assert answer["score"] > answer["threshold"] == 0.4
        assert {key: answer[key] for key in ("name", "other", "moved", "present", "templates", "forced")} == {
            "name": "Ann", "other": "Anne", "moved": 1, "present": 1, "templates": 3, "forced": False
        }  # fmt: skip
        assert names(facekd) == ["Ann", "Bo"]
        assert actions(gallery) == [("merge", 1, 1), ("merged", 2, 2)]

    def test_people_who_do_not_are_refused(self, facekd, gallery: Path, model: Path) -> None:
        before = gallery.read_bytes()
        ran = facekd("gallery", "merge", "Ann", "Bo", "--yes", "--model", model, "--json")
        failure = json.loads(ran.out)["failure"]
        assert (ran.code, failure["reason"]) == (3, "not_this_person")
        assert "do not look like the same person (score" in failure["message"]
        assert gallery.read_bytes() == before
        forced = facekd("gallery", "merge", "Ann", "Bo", "--yes", "--force", "--model", model)
        assert forced.code == 0
        assert "0.4000 is needed" in forced.out
        assert actions(gallery) == [("merge", 1, 1), ("merged", 3, 1), ("force", 1, 1)]

    def test_without_a_threshold_it_says_so(self, facekd, gallery: Path, monkeypatch) -> None:
        monkeypatch.delenv("FACEKD_MODEL", raising=False)
        ran = facekd("gallery", "merge", "Ann", "Bo", "--yes")
        assert ran.code == 0
        assert "was not checked" in ran.err

    def test_a_model_of_another_space_is_refused(self, facekd, gallery: Path, tmp_path: Path) -> None:
        other = write_tiny_model(tmp_path / "other.onnx", seed=1, dim=DIM)
        assert facekd("gallery", "merge", "Ann", "Anne", "--yes", "--model", other).code == 4

    def test_without_a_terminal_it_wants_a_yes(self, facekd, gallery: Path, model: Path, monkeypatch) -> None:
        monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115
        assert facekd("gallery", "merge", "Ann", "Anne", "--model", model).code == 2
        assert names(facekd) == ["Ann", "Anne", "Bo"]


class TestRemovePhoto:
    def test_one(self, facekd, gallery: Path) -> None:
        ran = facekd("gallery", "remove", "Ann", "--photo", "bbbbb", "--yes", "--json")
        assert json.loads(ran.out) == {
            "schema": "gallery-remove/1", "gallery": str(gallery), "name": "Ann", "templates": 1,
            "erasure": "done", "photo": "b" * 12,
        }  # fmt: skip
        assert [
            photo["id"] for photo in json.loads(facekd("gallery", "show", "Ann", "--json").out)["photos"]
        ] == ["a" * 12]

    def test_the_last(self, facekd, gallery: Path) -> None:
        ran = facekd("gallery", "remove", "Bo", "--photo", "dddd", "--yes")
        assert ran.code == 2
        assert "facekd gallery remove NAME" in ran.err
