"""Which gallery is used if a call names none, and that every answer names it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
from made_galleries import enroll

import facekd as package


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder, not made yet; the current folder is an empty one."""
    monkeypatch.delenv("FACEKD_GALLERY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("HOME", str(tmp_path))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return Path(platformdirs.user_data_dir("facekd"))


def test_it_is_that_of_python(facekd: Callable, data: Path) -> None:
    assert package.Gallery().path == data / "gallery.db"
    ran = facekd("gallery", "list", "--json")
    assert ran.code == 5
    assert f"gallery: {data / 'gallery.db'}\n" in ran.err
    assert str(data / "gallery.db") in json.loads(ran.out)["failure"]["message"]
    assert not data.exists()  # looking makes nothing


def test_enrolling_makes_the_folder_for_its_owner_alone(
    facekd: Callable, data: Path, photos: Path, tiny: Path
) -> None:
    ran = facekd("enroll", "Ann", photos / "a.jpg", "-m", tiny, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["gallery"] == str(data / "gallery.db")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "gallery.db").stat().st_mode) == 0o600
    assert not list(Path.cwd().iterdir())
    limit = ("--threshold", "0.5", "-m", tiny, "--json")
    claim = facekd("verify", "--claim", "Ann", photos / "b.jpg", *limit)
    assert json.loads(claim.out)["gallery"] == str(data / "gallery.db")
    found = facekd("identify", photos / "b.jpg", *limit)
    assert json.loads(found.out)["gallery"] == str(data / "gallery.db")
    two = facekd("verify", photos / "a.jpg", photos / "b.jpg", *limit)
    assert json.loads(two.out)["gallery"] is None
    assert "gallery" not in two.err


def test_importing_makes_the_folder_too(facekd: Callable, data: Path, tmp_path: Path) -> None:
    enroll(tmp_path / "other.db", ("Ann", 1))
    assert facekd("gallery", "export", "a.jsonl", "--yes", "-g", tmp_path / "other.db").code == 0
    ran = facekd("gallery", "import", "a.jsonl", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["gallery"] == str(data / "gallery.db")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_one_in_the_current_folder_is_used_once_more(facekd: Callable, data: Path) -> None:
    data.mkdir(parents=True)
    enroll(data / "gallery.db", ("Bob", 1))
    enroll(Path("gallery.db"), ("Ann", 1))
    ran = facekd("gallery", "list", "--json")
    document = json.loads(ran.out)
    assert (document["gallery"], [p["name"] for p in document["people"]]) == ("gallery.db", ["Ann"])
    assert ran.err.count("note: using gallery.db in the current folder") == 1
    assert str(data / "gallery.db") in ran.err
    for named in (("-g", "gallery.db"), ("-g", data / "gallery.db")):
        assert "note:" not in facekd("gallery", "list", *named).err


def test_the_environment_wins(facekd: Callable, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enroll(Path("gallery.db"), ("Ann", 1))
    enroll(Path("staff.db"), ("Bob", 1))
    monkeypatch.setenv("FACEKD_GALLERY", "staff.db")
    ran = facekd("gallery", "list", "--json")
    assert [p["name"] for p in json.loads(ran.out)["people"]] == ["Bob"]
    assert "note:" not in ran.err


@pytest.mark.parametrize(
    "call",
    [
        ("list",), ("show", "Ann"), ("rename", "Ann", "Anne"), ("merge", "Ann", "Bob", "--yes"), ("audit",),
        ("remove", "Ann", "--yes"), ("audit", "--prune-before", "2001-01-01", "--yes"), ("check",),
        ("stats",), ("backup", "copy.db"), ("export", "a.jsonl", "--yes"), ("calibrate",), ("dedupe",),
    ],
)  # fmt: skip
def test_every_answer_names_it(facekd: Callable, data: Path, call: tuple[str, ...]) -> None:
    enroll(Path("staff.db"), ("Ann", 2), ("Bob", 1))
    ran = facekd("gallery", *call, "-g", "staff.db", "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out.splitlines()[0] if call == ("audit",) else ran.out)
    assert document["gallery"] == "staff.db"
