"""A file that is not a gallery, or damaged, is reported and left unchanged."""

import os
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_galleries import CONTRACT, embedding, enroll

from facekd.errors import InputOutput, Unreadable
from facekd.gallery import GalleryRecords
from facekd.gallery.database import is_disk_full


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


def read_all(path: Path) -> None:
    with GalleryRecords(path) as records:
        for person in records.people():
            records.templates(person.name)


class TestFilesThatAreNotGalleries:
    def test_missing(self, path: Path) -> None:
        with pytest.raises(InputOutput, match="no such gallery"):
            GalleryRecords(path)
        assert not path.exists()

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputOutput, match="cannot be created"):
            GalleryRecords(tmp_path / "no" / "gallery.db", CONTRACT, create=True)

    def test_a_folder(self, tmp_path: Path) -> None:
        for create in (False, True):
            with pytest.raises(InputOutput, match="folder"):
                GalleryRecords(tmp_path, CONTRACT, create=create)

    def test_another_kind_of_file_is_left_as_it_was(self, path: Path) -> None:
        content = b"\x89PNG and some more bytes than SQLite's header has" * 40
        path.write_bytes(content)
        with pytest.raises(Unreadable, match="not a facekd gallery"):
            GalleryRecords(path, CONTRACT, create=True)
        assert path.read_bytes() == content

    def test_another_database_is_left_as_it_was(self, path: Path) -> None:
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE t (x)")
        db.commit()
        db.close()
        content = path.read_bytes()
        with pytest.raises(Unreadable, match="another program"):
            GalleryRecords(path, CONTRACT, create=True)
        assert path.read_bytes() == content

    def test_an_empty_file(self, path: Path) -> None:
        path.touch()
        with pytest.raises(Unreadable, match="empty"):
            GalleryRecords(path)

    def test_a_newer_schema(self, path: Path) -> None:
        enroll(path, ("Ann", 1))
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 99")
        db.close()
        with pytest.raises(Unreadable, match="schema 99"):
            GalleryRecords(path)

    def test_truncated(self, path: Path) -> None:
        enroll(path, *((f"p{i}", i) for i in range(200)))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(Unreadable, match="damaged"):
            read_all(path)

    def test_changed_bytes(self, path: Path) -> None:
        enroll(path, *((f"p{i}", i) for i in range(50)))
        content = bytearray(path.read_bytes())
        place = content.index(embedding(7).tobytes())
        content[place : place + 8] = b"\xff" * 8
        path.write_bytes(bytes(content))
        with GalleryRecords(path) as records, pytest.raises(Unreadable, match="template"):
            records.templates("p7")


@pytest.mark.parametrize(("free", "full"), [(1000, True), (1_000_000, False)])
def test_where_files_are_not_counted_a_full_disk_is_known_by_its_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch, free: int, full: bool
) -> None:
    monkeypatch.delattr(os, "statvfs")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert is_disk_full(path) is full
