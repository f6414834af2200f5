"""`--audit` of verify and identify, and `gallery audit --reads`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from facekd.gallery import GalleryRecords, ReadEntry


@pytest.fixture
def gallery(facekd: Callable, operator: Path, photos: Path) -> Path:
    """A gallery of one person, photo a."""
    ran = facekd("enroll", "Ann Lee", photos / "a.jpg")
    assert ran.code == 0, ran.err
    return operator


def results(gallery: Path) -> list[tuple]:
    with GalleryRecords(gallery, read_only=True) as records:
        return [(entry.action, entry.person, entry.result, entry.reason) for entry in records.read_entries()]


def claim(photo: Path) -> tuple[object, ...]:
    return ("verify", "--claim", "Ann Lee", photo, "--threshold", "0.5")


class TestAudit:
    def test_of_claims(self, facekd: Callable, gallery: Path, photos: Path) -> None:
        assert facekd(*claim(photos / "b.jpg"), "--audit").code == 0
        assert facekd(*claim(photos / "blank.jpg"), "--audit", "--json").code == 3
        assert facekd(*claim(photos / "absent.jpg"), "--audit").code == 5
        ran = facekd("verify", "--claim", "Bo", photos / "b.jpg", "--threshold", "0.5", "--audit")
        assert ran.code == 2
        assert facekd(*claim(photos / "b.jpg")).code == 0
        assert results(gallery) == [
            ("claim", 1, "same", None), ("claim", 1, "failed", "no_face"), ("claim", 1, "failed", "io"),
            ("claim", 0, "failed", "unknown_person"),
        ]  # fmt: skip

    def test_of_searches(self, facekd: Callable, gallery: Path, photos: Path) -> None:
        found = ("search", 1, "found", None)
        assert facekd("identify", photos / "b.jpg", "--threshold", "0.5", "--audit").code == 0
        assert facekd("identify", photos / "b.jpg", "--threshold", "1", "--audit").code == 1
        assert facekd("identify", photos / "b.jpg", "--audit").code == 2
        many = (photos / "b.jpg", photos / "blank.jpg", photos / "text.jpg")
        assert facekd("identify", *many, "--threshold", "0.5", "--audit").code == 5
        assert facekd("identify", photos / "b.jpg", "--threshold", "0.5").code == 0
        assert results(gallery) == [
            found, ("search", 0, "nobody", None), ("search", 0, "insufficient", None),
            found, ("search", 0, "failed", "no_face"), ("search", 0, "failed", "unreadable"),
        ]  # fmt: skip

    def test_by_the_environment_and_the_file(
        self, facekd: Callable, gallery: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = tmp_path / "facekd.toml"
        settings.write_text("audit_reads = true")
        monkeypatch.setenv("FACEKD_CONFIG", str(settings))
        ran = facekd(*claim(photos / "b.jpg"))
        assert f"audit_reads: true ({settings})\n" in ran.err
        assert facekd("identify", photos / "b.jpg", "--threshold", "0.5").code == 0
        assert len(results(gallery)) == 2
        monkeypatch.setenv("FACEKD_AUDIT", "0")
        assert facekd(*claim(photos / "b.jpg")).code == 0
        assert len(results(gallery)) == 2
        settings.write_text("audit_reads = false")
        monkeypatch.setenv("FACEKD_AUDIT", "1")
        assert facekd(*claim(photos / "b.jpg")).code == 0
        assert len(results(gallery)) == 3
        settings.write_text("audit_reads = 1")
        ran = facekd(*claim(photos / "b.jpg"))
        assert (ran.code, "audit_reads: should be true or false, not 1" in ran.err) == (2, True)

    def test_two_photos_are_no_claim(
        self, facekd: Callable, gallery: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        two = ("verify", photos / "a.jpg", photos / "b.jpg", "--threshold", "0.5")
        ran = facekd(*two, "--audit")
        assert (ran.code, "--audit needs --claim NAME" in ran.err) == (2, True)
        monkeypatch.setenv("FACEKD_AUDIT", "1")
        assert facekd(*two).code == 0
        assert results(gallery) == []

    @pytest.mark.parametrize("form", [(), ("--json",)])
    def test_no_answer_without_an_entry(
        self, facekd: Callable, gallery: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, form: tuple
    ) -> None:
        monkeypatch.setattr("facekd.gallery.database.BUSY_SECONDS", 0.02)
        calls = (
            claim(photos / "b.jpg"),
            ("identify", photos / "b.jpg", "--threshold", "0.5"),
            ("identify", photos / "b.jpg", photos / "c.jpg", "--threshold", "0.5"),
        )
        with closing(sqlite3.connect(gallery, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for call in calls:
                ran = facekd(*call, *form, "--audit")
                assert ran.code == 5, ran.err
                assert "another program is writing" in ran.err
                told = json.loads(ran.out) if form else {}
                assert not form or told["failure"]["reason"] == "io"
                assert (told.get("score"), told.get("same"), told.get("candidates")) == (None, None, None)
                assert form or ran.out == ""
                assert facekd(*call, *form).code == 0
        assert results(gallery) == []


class TestReads:
    @pytest.fixture
    def noted(self, gallery: Path) -> Path:
        old = "2024-01-02T03:04:05+00:00"
        with GalleryRecords(gallery, by="door", audit_reads=True) as records:
            records.note_reads([ReadEntry("claim", 1, "same", "tiny", "a" * 12, fmr=1e-3, date=old)])
        with GalleryRecords(gallery, audit_reads=True) as records:
            records.note_reads([
                ReadEntry("search", 0, "failed", "tiny", "a" * 12, "no_face", fpir=0.01),
                ReadEntry("search", 1, "found", "ti\x1bny", "a" * 12),
            ])  # fmt: skip
        return gallery

    def test_lines(self, facekd: Callable, noted: Path) -> None:
        lines = facekd("gallery", "audit", "--reads").out.splitlines()
        assert [line.split()[1:] for line in lines] == [
            ["claim", "1", "same", "tiny", "(aaaaaaaaaaaa)", "FMR", "0.001", "door"],
            ["search", "0", "failed", "(no_face)", "tiny", "(aaaaaaaaaaaa)", "FPIR", "0.01"],
            ["search", "1", "found", "ti\\x1bny", "(aaaaaaaaaaaa)", "no", "rate"],
        ]
        assert [line.split()[1] for line in facekd("gallery", "audit").out.splitlines()] == ["add"]

    def test_since_as_json_lines(self, facekd: Callable, noted: Path) -> None:
        told = [json.loads(line) for line in facekd("gallery", "audit", "--reads", "--json").out.splitlines()]
        assert told[0] == {
            "schema": "gallery-audit/1", "gallery": str(noted), "action": "claim", "person": 1,
            "result": "same", "model": "tiny", "space": "a" * 12, "reason": None, "fmr": 1e-3, "fpir": None,
            "by": "door", "date": "2024-01-02T03:04:05+00:00",
        }  # fmt: skip
        since = facekd("gallery", "audit", "--reads", "--since", "2024-01-03", "--json").out.splitlines()
        assert [json.loads(line) for line in since] == told[1:]
        assert [entry["reason"] for entry in told[1:]] == ["no_face", None]

    def test_rotation(self, facekd: Callable, noted: Path) -> None:
        with closing(sqlite3.connect(noted)) as db:
            db.execute("UPDATE audit SET date = '2024-01-02T03:04:05+00:00'")
            db.commit()
        keep = ("gallery", "audit", "--keep-days", "30", "--yes", "--json")
        told = json.loads(facekd(*keep, "--reads").out)
        assert (told["pruned"], told["reads_only"]) == (1, True)
        told = json.loads(facekd(*keep).out)
        assert (told["pruned"], told["reads_only"]) == (1, False)
        assert json.loads(facekd(*keep).out)["pruned"] == 0
        lines = facekd("gallery", "audit").out.splitlines()
        assert [line.split()[1:] for line in lines] == [["prune", "0", "1"]] * 2
        assert results(noted) == [("search", 0, "failed", "no_face"), ("search", 1, "found", None)]

    @pytest.mark.parametrize("days", ["0", "-1", "36501", "many"])
    def test_so_many_days(self, facekd: Callable, noted: Path, days: str) -> None:
        assert facekd("gallery", "audit", "--keep-days", days, "--yes").code == 2
        assert len(results(noted)) == 3

    @pytest.mark.parametrize("other", ["--since", "--prune-before"])
    def test_one_time_at_once(self, facekd: Callable, noted: Path, other: str) -> None:
        assert facekd("gallery", "audit", other, "2024-01-01", "--keep-days", "1", "--yes").code == 2
