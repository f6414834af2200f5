import dataclasses
import os
import sqlite3
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from made_galleries import CONTRACT, DIM, embedding, enroll, template

from facekd.errors import InputOutput, Misfit
from facekd.gallery import Contract, GalleryRecords, database
from facekd.version import EARLIER_STUDENTS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


def test_the_same_photo_is_noticed(path: Path) -> None:
    enroll(path, ("Ann", 1))
    with GalleryRecords(path, CONTRACT) as records:
        with records.transaction():
            assert records.add("Ann", [template(1), template(2)]) == 1
        assert records.holders(f"{1:064x}") == ["Ann"]
        assert records.holders(f"{9:064x}") == []
        assert records.person("Ann").templates == 2


def test_another_space_does_not_fit(path: Path) -> None:
    enroll(path, ("Ann", 1))
    other = Contract("b" * 64, DIM, "large", "mtcnn", "arcface-5pt/1")
    with pytest.raises(Misfit) as caught:
        GalleryRecords(path, other, create=True)
    for part in ("small", "large", "a" * 12, "b" * 12):
        assert part in caught.value.cause
    assert caught.value.exit_code == 4


def test_a_compatible_space_may_be_read_and_not_added_to(path: Path) -> None:
    enroll(path, ("Ann", 1))
    other = Contract("b" * 64, DIM, "large", "mtcnn", "arcface-5pt/1")
    with GalleryRecords(path, other, compatible=("c" * 64, CONTRACT.space)) as records:
        np.testing.assert_array_equal(records.templates("Ann")[0].embedding, embedding(1))
        assert records.contract == CONTRACT
        with pytest.raises(RuntimeError, match="in another space"), records.transaction():
            records.add("Bo", [template(2)])
    with pytest.raises(Misfit):
        GalleryRecords(path, other, compatible=("c" * 64,))


def test_the_database_itself_refuses_a_row_of_another_space(path: Path) -> None:
    enroll(path, ("Ann", 1))
    db = sqlite3.connect(path)
    db.execute("PRAGMA foreign_keys = ON")
    row = (1, "b" * 64, "c" * 64, b"")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO templates VALUES (NULL, ?, ?, ?, ?, 0, '', '')", row)
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO contract VALUES (?, 1, '', '', '', '')", ("b" * 64,))
    db.close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_files_are_private_from_the_first_moment(path: Path, umask: int, monkeypatch) -> None:
    """Watched at every step at which the file could be seen: no mode but 0600 ever shows."""
    seen: set[int] = set()

    def watch(*_: object) -> None:
        for file in path.parent.iterdir():
            seen.add(stat.S_IMODE(file.stat().st_mode))

    original = sqlite3.connect

    def connect(*arguments: object, **keywords: object) -> sqlite3.Connection:
        watch()
        db = original(*arguments, **keywords)
        db.set_trace_callback(watch)
        return db

    monkeypatch.setattr(sqlite3, "connect", connect)
    before = os.umask(umask)
    try:
        with GalleryRecords(path, CONTRACT, create=True) as records:
            with records.transaction():
                records.add("Ann", [template(1)])
            assert {f.name for f in path.parent.iterdir()} >= {"gallery.db", "gallery.db-wal"}
            watch()
    finally:
        os.umask(before)
    assert seen == {0o600}


def test_an_empty_file_is_made_private_before_it_is_filled(path: Path) -> None:
    path.touch(mode=0o644)
    enroll(path, ("Ann", 1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_durable_settings(path: Path, monkeypatch) -> None:
    connections: list[sqlite3.Connection] = []
    original = sqlite3.connect

    def connect(*arguments: object, **keywords: object) -> sqlite3.Connection:
        connections.append(original(*arguments, **keywords))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)
    with GalleryRecords(path, CONTRACT, create=True):
        ask = lambda name: connections[-1].execute(f"PRAGMA {name}").fetchone()[0]  # noqa: E731
        assert (ask("journal_mode"), ask("synchronous"), ask("foreign_keys")) == ("wal", 2, 1)
        assert (ask("secure_delete"), ask("busy_timeout")) == (1, 5000)


def raw_bytes(path: Path) -> bytes:
    beside = [path, path.with_name(path.name + "-wal")]
    return b"".join(file.read_bytes() for file in beside if file.exists())


def test_a_removed_person_is_gone_from_the_bytes(path: Path) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for seed in range(300):
            with records.transaction():
                records.add(f"person number {seed}.", [template(seed)])
        gone, kept = embedding(140).tobytes(), embedding(141).tobytes()
        before = raw_bytes(path)
        assert gone in before
        assert b"person number 140." in before
        with records.transaction():
            assert records.remove("person number 140.") == 1
        assert records.pending is False
        after = raw_bytes(path)  # the records are still open: this is what a copy made now would hold
        assert gone not in after
        assert gone[16:80] not in after  # nor a piece of it
        assert b"person number 140." not in after
        assert f"{140:064x}".encode() not in after
        assert kept in after
        assert len(records.people()) == 299
    assert gone not in raw_bytes(path)


def test_a_reader_makes_the_removal_pending(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    enroll(path, ("Ann", 1), ("Bo", 2))
    gone = embedding(1).tobytes()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM people").fetchone() == (2,)
    with GalleryRecords(path) as records:
        with records.transaction():
            records.remove("Ann")
        assert records.pending is True
        assert [p.name for p in records.people()] == ["Bo"]
    assert gone in raw_bytes(path)
    assert reader.execute("SELECT count(*) FROM people").fetchone() == (2,)
    reader.execute("COMMIT")  # it stays connected, as a service would
    with GalleryRecords(path):
        pass  # whoever opens the gallery next completes the erasure
    assert gone not in raw_bytes(path)
    reader.close()
    assert gone not in raw_bytes(path)


def test_the_audit_keeps_no_name(path: Path) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(path) as records, records.transaction():
        records.remove("Bo")
    enroll(path, ("Cy", 3))
    db = sqlite3.connect(path)
    rows = db.execute("SELECT action, person, templates FROM audit ORDER BY id").fetchall()
    db.close()
    assert rows == [("add", 1, 1), ("add", 2, 1), ("remove", 2, 1), ("add", 3, 1)]  # 2 is not used again


def test_a_file_that_another_program_is_just_making_is_waited_for(path: Path) -> None:
    """SQLite itself does not wait when the journal mode changes during a write."""
    path.touch(0o600)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
    release.start()
    enroll(path, ("Ann", 1))
    release.join()
    other.close()
    with GalleryRecords(path) as records:
        assert [person.name for person in records.people()] == ["Ann"]


def test_a_writer_that_does_not_end_is_an_error_not_a_hang(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    enroll(path, ("Ann", 1))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with GalleryRecords(path, CONTRACT) as records:
        with pytest.raises(InputOutput, match="another program is writing"), records.transaction():
            records.add("Bo", [template(2)])
        writer.execute("ROLLBACK")
        with records.transaction():
            records.add("Bo", [template(2)])
        assert len(records.people()) == 2
    writer.close()


def test_a_gallery_of_an_earlier_student_says_which_facekd_it_came_with(tmp_path: Path) -> None:
    (earlier, came_with) = next(iter(EARLIER_STUDENTS.items()))
    old = dataclasses.replace(CONTRACT, model=earlier)
    with GalleryRecords(tmp_path / "g.db", old, create=True):
        pass
    new = dataclasses.replace(CONTRACT, space="b" * 64, model="facekd-student-new")
    with pytest.raises(Misfit) as refused:
        GalleryRecords(tmp_path / "g.db", new)
    assert f"an earlier student of facekd ({came_with})" in str(refused.value)
    assert earlier in (refused.value.fix or "")
