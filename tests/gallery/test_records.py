import multiprocessing
import os
import sqlite3
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from facekd.errors import InputOutput, Misfit, NotFound, Unreadable, UsageError
from facekd.gallery import NAME_LIMIT, Contract, GalleryRecords, Template, clean_name, database

DIM = 64
CONTRACT = Contract("a" * 64, DIM, "small", "mtcnn", "arcface-5pt/1")


def embedding(seed: int, dim: int = DIM) -> np.ndarray:
    row = np.random.default_rng(seed).normal(size=dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


def template(seed: int) -> Template:
    return Template(embedding(seed), f"{seed:064x}", 0.5)


def enroll(path: Path, *people: tuple[str, int]) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for name, seed in people:
            with records.transaction():
                records.add(name, [template(seed)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


def test_what_was_added_is_there_after_reopening(path: Path) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records, records.transaction():
        assert records.add("Ann", [template(1), template(2)]) == 2
        assert records.add("Bo", [template(3)]) == 1
    with GalleryRecords(path) as records:
        assert [(p.name, p.templates) for p in records.people()] == [("Ann", 2), ("Bo", 1)]
        found = records.templates("Ann")
        assert [t.photo for t in found] == [f"{1:064x}", f"{2:064x}"]
        for seed, entry in zip((1, 2), found, strict=True):
            assert entry.embedding.dtype == np.float32
            np.testing.assert_array_equal(entry.embedding, embedding(seed))
        assert records.contract == CONTRACT
        assert records.person("Bo").templates == 1


def test_the_same_photo_is_noticed(path: Path) -> None:
    enroll(path, ("Ann", 1))
    with GalleryRecords(path, CONTRACT) as records:
        with records.transaction():
            assert records.add("Ann", [template(1), template(2)]) == 1
        assert records.holders(f"{1:064x}") == ["Ann"]
        assert records.holders(f"{9:064x}") == []
        assert records.person("Ann").templates == 2


def change_and_fail(records: GalleryRecords) -> None:
    with records.transaction():
        records.add("Bo", [template(2)])
        records.remove("Ann")
        records.remove("Nobody")


def test_a_failed_block_changes_nothing(path: Path) -> None:
    enroll(path, ("Ann", 1))
    with GalleryRecords(path, CONTRACT) as records:
        with pytest.raises(NotFound):
            change_and_fail(records)
        assert [p.name for p in records.people()] == ["Ann"]
        with records.transaction():  # and the records are still of use
            records.add("Bo", [template(2)])
        assert [p.name for p in records.people()] == ["Ann", "Bo"]


def test_changes_need_a_transaction(path: Path) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        with pytest.raises(RuntimeError):
            records.add("Ann", [template(1)])
        with pytest.raises(RuntimeError):
            records.remove("Ann")
        with pytest.raises(RuntimeError), records.transaction(), records.transaction():
            pass
    with GalleryRecords(path) as records, pytest.raises(RuntimeError), records.transaction():
        records.add("Ann", [template(1)])


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


def test_embeddings_of_the_wrong_kind_are_refused(path: Path) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for wrong, error in (
            (embedding(1, DIM * 2), Misfit),
            (embedding(1) * 2, ValueError),
            (np.full(DIM, np.nan, np.float32), ValueError),
        ):
            with pytest.raises(error), records.transaction():
                records.add("Ann", [Template(wrong, "0" * 64, 1.0)])
        with pytest.raises(ValueError, match="without a template"), records.transaction():
            records.add("Ann", [])
        assert records.people() == []


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
                records.add(f"person number {seed}", [template(seed)])
        gone, kept = embedding(140).tobytes(), embedding(141).tobytes()
        before = raw_bytes(path)
        assert gone in before
        assert b"person number 140" in before
        with records.transaction():
            assert records.remove("person number 140") == 1
        assert records.pending is False
        after = raw_bytes(path)  # the records are still open: this is what a copy made now would hold
        assert gone not in after
        assert gone[16:80] not in after  # nor a piece of it
        assert b"person number 140" not in after
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


def _enroll_many(path: Path, first: int) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for seed in range(first, first + 20):
            with records.transaction():
                records.add(f"p{seed}", [template(seed)])


def test_two_programs_create_and_write_at_once(path: Path) -> None:
    start = multiprocessing.get_context("spawn")
    workers = [start.Process(target=_enroll_many, args=(path, first)) for first in (0, 20, 40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0, 0]
    with GalleryRecords(path, CONTRACT) as records:
        assert {p.name for p in records.people()} == {f"p{i}" for i in range(60)}


def test_a_file_that_another_program_is_just_making_is_waited_for(path: Path) -> None:
    """SQLite itself does not wait where the journal's mode changes under a writer."""
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


class TestNames:
    def test_spellings_of_one_text_are_one_name(self, path: Path) -> None:
        composed, decomposed = "Ren\u00e9e", "Rene\u0301e"
        enroll(path, (composed, 1), (f"  {decomposed} ", 2))
        with GalleryRecords(path) as records:
            assert [(p.name, p.templates) for p in records.people()] == [(composed, 2)]
            assert len(records.templates(decomposed)) == 2

    @pytest.mark.parametrize(
        "name", ["王伟", "O'Neil; DROP TABLE people", "../../etc/passwd", "%s", "-rf", "می‌خواهم"]
    )
    def test_any_text(self, path: Path, name: str) -> None:
        enroll(path, (name, 1))
        assert [f.name for f in path.parent.iterdir()] == ["gallery.db"]
        with GalleryRecords(path) as records:
            assert records.people()[0].name == name

    @pytest.mark.parametrize(
        "name", ["", "  ", "a\nb", "a\x00b", "a\x1b[31mb", "\udcff", "a\u202eb", "x" * (NAME_LIMIT + 1)]
    )
    def test_refused(self, name: str) -> None:
        with pytest.raises(UsageError):
            clean_name(name)

    @pytest.mark.parametrize(
        "code",
        [
            0x00AD, 0x034F, 0x061C, 0x115F, 0x180E, 0x200B, 0x200C, 0x200D, 0x200E, 0x2028, 0x202A, 0x2060,
            0x2066, 0x2069, 0x2800, 0x3164, 0xD800, 0xE000, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFFF, 0xE0041,
        ],
    )  # fmt: skip
    def test_what_does_not_show_is_refused(self, code: int) -> None:
        with pytest.raises(UsageError, match=f"U\\+{code:04X}"):
            clean_name(f"Ann{chr(code)}Lee")

    @pytest.mark.parametrize("space", ["  ", "\u00a0", "\u2003", "\u3000 ", "\u202f", "\u1680"])
    def test_white_space_is_one_space(self, path: Path, space: str) -> None:
        enroll(path, ("Ann Lee", 1), (f"Ann{space}Lee", 2), (f"{space}Ann Lee{space}", 3))
        with GalleryRecords(path) as records:
            assert [(p.name, p.templates) for p in records.people()] == [("Ann Lee", 3)]

    @pytest.mark.parametrize("name", ["می\u200cخواهم", "क्\u200dष", "क्\u200cष"])
    def test_joiners_stay_where_they_change_the_writing(self, name: str) -> None:
        assert clean_name(name) == name

    def test_names_of_0_1_0_are_found(self, path: Path) -> None:
        """It kept white space and invisible characters as they were typed."""
        old = ("Ann  Lee", "Ann\u00a0Lee", "Bob\u200b", "Cy\u3000Wu", "Di\u00a0Li", "Di Li")
        with GalleryRecords(path, CONTRACT, create=True) as records, records.transaction():
            for seed in range(len(old)):
                records.add(f"p{seed}", [template(seed)])
        db = sqlite3.connect(path)
        db.executemany("UPDATE people SET name = ? WHERE name = ?", [(n, f"p{i}") for i, n in enumerate(old)])
        db.commit()
        db.close()
        with GalleryRecords(path, CONTRACT) as records:
            for seed, name in enumerate(old):
                assert records.templates(name)[0].photo == f"{seed:064x}"
                assert records.person(name).name == name
            assert records.person("Cy Wu").name == "Cy\u3000Wu"
            assert records.person("Di  Li").name == "Di Li"
            with pytest.raises(UsageError, match="2 people"):
                records.person("Ann Lee")
            with records.transaction():
                records.add("Cy Wu", [template(10)])
                records.remove("Ann  Lee")
                records.remove("Bob\u200b")
            assert records.person("Ann Lee").name == "Ann\u00a0Lee"
            assert records.person("Cy Wu").templates == 2
            assert len(records.people()) == 4

    def test_a_name_that_nobody_can_have_is_nobodys(self, path: Path) -> None:
        enroll(path, ("Ann", 1))
        with GalleryRecords(path) as records:
            for name in ("\udcff", "", "a\nb"):
                with pytest.raises(NotFound) as caught:
                    records.person(name)
                assert caught.value.cause.isprintable()

    def test_a_person_without_templates_is_damage(self, path: Path) -> None:
        enroll(path, ("Ann", 1))
        db = sqlite3.connect(path)
        db.execute("DELETE FROM templates")
        db.commit()
        db.close()
        with GalleryRecords(path) as records:
            assert records.people() == []
            assert records.person("Ann").templates == 0
            with pytest.raises(Unreadable, match="'Ann' has no template"):
                records.templates("Ann")
            with records.transaction():
                assert records.remove("Ann") == 0

    def test_not_found(self, path: Path) -> None:
        enroll(path, ("Ann", 1))
        with GalleryRecords(path) as records:
            for ask in (records.person, records.templates):
                with pytest.raises(NotFound) as caught:
                    ask("Bo")
                assert (caught.value.exit_code, caught.value.reason) == (2, "unknown_person")
