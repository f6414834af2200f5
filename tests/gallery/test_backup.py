"""Copies of a gallery that is in use."""

import os
import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.gallery import GalleryCheck, GalleryRecords, back_up

STORED = Path(__file__).parent.parent / "stored"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.db"
    enroll(path, ("Ann", 1), ("Bo", 2))
    return path


def names(path: Path) -> list[str]:
    with GalleryRecords(path, read_only=True) as records:
        return [person.name for person in records.people()]


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_it_is_a_private_gallery_of_its_own(path: Path, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        size = back_up(path, tmp_path / "copy.db")
    finally:
        os.umask(before)
    copy = tmp_path / "copy.db"
    assert (stat.S_IMODE(copy.stat().st_mode), copy.stat().st_size) == (0o600, size)
    assert names(copy) == ["Ann", "Bo"]
    assert {file.name for file in tmp_path.iterdir()} == {"gallery.db", "copy.db"}
    enroll(copy, ("Cy", 3))
    assert names(path) == ["Ann", "Bo"]


def test_what_is_only_in_the_log_yet_is_copied(path: Path, tmp_path: Path) -> None:
    with GalleryRecords(path, CONTRACT) as records:
        with records.transaction():
            records.add("Cy", [template(3)])
        with records.transaction():
            records.add("Di", [template(4)])
            back_up(path, tmp_path / "copy.db")  # this one is not committed
    assert names(tmp_path / "copy.db") == ["Ann", "Bo", "Cy"]


def test_while_somebody_enrolls_all_the_time(path: Path, tmp_path: Path) -> None:
    """Each copy holds people from the first to some one, all of them whole."""
    stop = threading.Event()

    def write() -> None:
        with GalleryRecords(path, CONTRACT) as records:
            for seed in range(10_000):
                if stop.is_set():
                    break
                with records.transaction():
                    records.add(f"p{seed:05d}", [template(10 + 2 * seed), template(11 + 2 * seed)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = []
        for number in range(8):
            copy = tmp_path / f"{number}.db"
            back_up(path, copy)
            assert list(GalleryCheck(copy).faults()) == []
            with GalleryRecords(copy, read_only=True) as records:
                people = records.people()
            assert [p.name for p in people[2:]] == [f"p{seed:05d}" for seed in range(len(people) - 2)]
            assert {p.templates for p in people[2:]} <= {2}
            counts.append(len(people))
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_an_erasure_that_is_owed_is_done_in_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "gallery.db"
    enroll(path, *((f"person number {seed}.", seed) for seed in range(100)))
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA secure_delete = OFF")
    db.execute("INSERT INTO erasures DEFAULT VALUES")
    db.execute("DELETE FROM templates WHERE person = 51")
    db.execute("DELETE FROM people WHERE id = 51")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert embedding(50).tobytes() in path.read_bytes()
    back_up(path, tmp_path / "copy.db")
    copied = (tmp_path / "copy.db").read_bytes()
    assert embedding(50).tobytes() not in copied
    assert b"person number 50." not in copied
    assert embedding(49).tobytes() in copied


def test_a_file_that_exists_is_not_replaced_unasked(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("something else")
    with pytest.raises(UsageError, match="exists"):
        back_up(path, copy)
    assert copy.read_text() == "something else"
    back_up(path, copy, replace=True)
    assert names(copy) == ["Ann", "Bo"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_what_is_refused(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for itself in (path, link):
        with pytest.raises(UsageError, match="the gallery itself"):
            back_up(path, itself, replace=True)
    with pytest.raises(InputOutput, match="cannot be written"):
        back_up(path, tmp_path / "no" / "copy.db")
    with pytest.raises(InputOutput, match="not a regular file"):
        back_up(path, tmp_path, replace=True)
    with pytest.raises(InputOutput, match="no such gallery"):
        back_up(tmp_path / "absent.db", tmp_path / "copy.db")
    (tmp_path / "copy.db-wal").write_bytes(b"of another gallery")
    with pytest.raises(UsageError, match="-wal exists"):
        back_up(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    assert names(path) == ["Ann", "Bo"]


def test_a_damaged_gallery_gives_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "gallery.db"
    enroll(path, *((f"p{seed}", seed) for seed in range(200)))
    content = path.read_bytes()
    page = content.index(embedding(100).tobytes()) // 8192 * 8192
    path.write_bytes(content[:page] + b"\xa5" * 8192 + content[page + 8192 :])
    with pytest.raises(Unreadable, match="damaged"):
        back_up(path, tmp_path / "copy.db")
    assert [file.name for file in tmp_path.iterdir()] == ["gallery.db"]


def test_one_of_an_older_schema_is_copied_as_it_is(tmp_path: Path) -> None:
    path = Path(shutil.copy(STORED / "0.1.0" / "gallery.db", tmp_path))
    back_up(path, tmp_path / "copy.db")
    db = sqlite3.connect(tmp_path / "copy.db")
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()
    assert names(tmp_path / "copy.db") == ["Ann Lee", "Bob", "Zoë 李"]
