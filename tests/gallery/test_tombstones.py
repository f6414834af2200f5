"""Tombstones: a removal leaves a random number in the gallery, so that an archive does not restore the
person."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from made_galleries import CONTRACT, embedding, enroll

from facekd.gallery import GalleryRecords


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


def rows(path: Path, query: str) -> list[tuple]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def test_a_removal_leaves_the_uid_and_nothing_else(path: Path) -> None:
    enroll(path, ("Ann Lee", 1), ("Bo", 2))
    uid = rows(path, "SELECT uid FROM people WHERE name = 'Ann Lee'")[0][0]
    with GalleryRecords(path) as records, records.transaction():
        records.remove("Ann Lee")
    (grave,) = rows(path, "SELECT * FROM removed_people")
    assert (grave[0], grave[2]) == (uid, None)
    content = path.read_bytes()
    for trace in (b"Ann Lee", embedding(1).tobytes(), f"{1:064x}".encode()):
        assert trace not in content
    enroll(path, ("Ann Lee", 1))  # somebody else, as far as the gallery knows
    assert rows(path, "SELECT count(*) FROM people WHERE uid = (SELECT uid FROM removed_people)") == [(0,)]


_KILLED_BEFORE_THE_REWRITE = """
import os, signal, sys
from facekd.gallery import GalleryRecords
from facekd.gallery.gallery_file import GalleryFile
GalleryFile._erase = lambda self: os.kill(os.getpid(), signal.SIGKILL)
with GalleryRecords(sys.argv[1]) as records, records.transaction():
    records.remove("person number 140.")
"""


def test_an_erasure_that_was_killed_is_finished_by_the_next_writer(path: Path) -> None:
    enroll(path, *((f"person number {seed}.", seed) for seed in range(300)))
    command = [sys.executable, "-c", _KILLED_BEFORE_THE_REWRITE, str(path)]
    assert subprocess.run(command, check=False, env=os.environ).returncode == -signal.SIGKILL
    assert rows(path, "SELECT count(*) FROM erasures") == [(1,)]
    GalleryRecords(path).close()
    assert rows(path, "SELECT count(*) FROM erasures") == [(0,)]
    assert rows(path, "PRAGMA freelist_count") == [(0,)]
    content = path.read_bytes()
    assert embedding(140).tobytes() not in content
    assert b"person number 140." not in content
    assert embedding(141).tobytes() in content


def test_one_that_finds_somebody_writing_is_left_to_the_next(path: Path) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("INSERT INTO erasures DEFAULT VALUES")
    writer.execute("BEGIN IMMEDIATE")
    with GalleryRecords(path) as records:
        assert [person.name for person in records.people()] == ["Ann", "Bo"]
        assert records._file.db.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    writer.execute("ROLLBACK")
    assert rows(path, "SELECT count(*) FROM erasures") == [(1,)]
    with GalleryRecords(path, CONTRACT):
        assert rows(path, "SELECT count(*) FROM erasures") == [(0,)]
    writer.close()
