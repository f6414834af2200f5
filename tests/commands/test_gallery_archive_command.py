"""gallery export and import at the shell."""

import io
import json
from pathlib import Path

import pytest
from made_galleries import enroll

from facekd.gallery import Contract, GalleryRecords


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "gallery.db"
    enroll(path, ("Ann", 1), ("Bo", 2))
    monkeypatch.setenv("FACEKD_GALLERY", str(path))
    return path


def test_export_and_import(facekd, gallery: Path, tmp_path: Path) -> None:
    archive, new = tmp_path / "staff.jsonl", tmp_path / "new.db"
    ran = facekd("gallery", "export", archive, "--yes", "--json")
    assert json.loads(ran.out) == {
        "schema": "gallery-export/1", "gallery": str(gallery), "file": str(archive), "people": 2,
        "templates": 2, "bytes": archive.stat().st_size,
    }  # fmt: skip
    assert facekd("gallery", "export", archive, "--yes").code == 2
    assert facekd("gallery", "export", archive, "--yes", "--force").code == 0
    ran = facekd("gallery", "import", archive, "--gallery", new, "--json")
    assert json.loads(ran.out) == {
        "schema": "gallery-import/1", "gallery": str(new), "people": 2, "new": 2, "added": 2, "present": 0,
        "removed_people": 0, "removed_photos": 0,
    }  # fmt: skip
    listed = [facekd("gallery", "list", "--gallery", one).out for one in (gallery, new)]
    assert listed[0] == listed[1]


def test_somebody_who_was_removed_stays_away(facekd, gallery: Path, tmp_path: Path) -> None:
    archive = tmp_path / "staff.jsonl"
    facekd("gallery", "export", archive, "--yes")
    facekd("gallery", "remove", "Bo", "--yes")
    ran = facekd("gallery", "import", archive)
    assert ran.code == 0
    assert "removed from this gallery: 1 people" in ran.err
    assert "Bo" not in facekd("gallery", "list").out
    assert facekd("gallery", "import", archive, "--restore-removed").code == 0
    assert "Bo" in facekd("gallery", "list").out


def test_an_export_asks_first(facekd, gallery: Path, tmp_path: Path, monkeypatch) -> None:
    archive = tmp_path / "staff.jsonl"
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115
    assert facekd("gallery", "export", archive).code == 2
    for typed, code in (("n\n", 130), ("y\n", 0)):
        assert not archive.exists()
        terminal = io.StringIO(typed)
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdin", terminal)
        ran = facekd("gallery", "export", archive)
        assert ran.code == code
        assert "biometric" in ran.err
    assert archive.exists()


def test_what_does_not_fit(facekd, gallery: Path, tmp_path: Path) -> None:
    archive, other = tmp_path / "staff.jsonl", tmp_path / "other.db"
    facekd("gallery", "export", archive, "--yes")
    GalleryRecords(other, Contract("b" * 64, 64, "large", "mtcnn", "a"), create=True).close()
    ran = facekd("gallery", "import", archive, "--gallery", other, "--json")
    assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (4, "misfit")
    archive.write_text("no archive\n")
    ran = facekd("gallery", "import", archive, "--json")
    assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (5, "unreadable")
