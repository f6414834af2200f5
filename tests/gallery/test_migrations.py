"""Galleries of older schemas, made by version 0.1.0 and stored with the tests, and templates that
are no longer what was written."""

import hashlib
import json
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_galleries import CONTRACT, embedding

from facekd.errors import FacekdError, Unreadable
from facekd.gallery import Contract, GalleryCheck, GalleryRecords, ReadEntry, Template, migrations

STORED = Path(__file__).parent.parent / "stored" / "0.1.0" / "gallery.db"
#: with what `made_galleries` makes, a forced photo and somebody who was removed
SCHEMA_3 = Path(__file__).parent.parent / "stored" / "schema-3" / "gallery.db"
#: three people of `made_galleries`: one who was given another's photo, one who was renamed; a fourth removed
SCHEMA_5 = Path(__file__).parent.parent / "stored" / "schema-5" / "gallery.db"
#: Ann, and Bob who was called otherwise, of `made_galleries`
SCHEMA_6 = Path(__file__).parent.parent / "stored" / "schema-6" / "gallery.db"
AUDIT = "SELECT id, date, action, person, templates FROM audit"
PEOPLE = [("Ann Lee", 2), ("Bob", 1), ("Zoë 李", 3)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copy(STORED, tmp_path / "old.db"))


def rows(path: Path, query: str) -> list[tuple]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def change(path: Path, statement: str, values: tuple = ()) -> None:
    db = sqlite3.connect(path)
    assert db.execute(statement, values).rowcount > 0
    db.commit()
    db.close()


def read_all(path: Path) -> tuple[list[np.ndarray], int]:
    """Every embedding that can be read, and the exit code of what stopped the reading (0: nothing)."""
    found: list[np.ndarray] = []
    try:
        with GalleryRecords(path) as records:
            for person in records.people():
                assert f"{person.templates:d} {person.first[:10]} {person.last[:10]} {person.name}"
                found += [template.embedding for template in records.templates(person.name)]
    except FacekdError as error:
        return found, int(error.exit_code)
    return found, 0


def check_seals(path: Path, space: str, dim: int) -> None:
    """Every checksum is SHA-256 over the row and whose it is, as docs/enroll-and-verify.md says."""
    columns = "uid, name, photo, quality, enrolled, embedding, checksum"
    found = rows(path, f"SELECT {columns} FROM templates JOIN people ON people.id = person")
    assert found
    for *said, blob, seal in found:
        text = json.dumps([space, dim, *said]).encode()
        assert seal == hashlib.sha256(b"facekd row\n" + text + b"\n" + blob).hexdigest()


def test_a_gallery_of_0_1_0_is_led_to_the_latest_schema(old: Path) -> None:
    before = rows(old, "SELECT id, person, photo, embedding, quality, enrolled FROM templates")
    audit = rows(old, AUDIT)
    assert rows(old, "PRAGMA user_version") == [(1,)]
    with GalleryRecords(old) as records:
        assert [(p.name, p.templates) for p in records.people()] == PEOPLE
        found = records.templates("Zoë 李")
    assert [t.embedding.astype("<f4").tobytes() for t in found] == [row[3] for row in before[3:]]
    assert rows(old, "PRAGMA user_version") == [(len(migrations.MIGRATIONS),)]
    assert rows(old, "SELECT id, person, photo, embedding, quality, enrolled FROM templates") == before
    assert rows(old, AUDIT) == audit
    space, dim = rows(old, "SELECT space, dim FROM contract")[0]
    check_seals(old, space, dim)
    with GalleryRecords(old, Contract(space, dim, "model", "mtcnn", "facekd-five-points-1")) as records:
        with records.transaction():
            row = np.eye(dim, dtype=np.float32)[0]
            records.add("New", [Template(row, "f" * 64, 1.0)])
            records.remove("Bob")
        assert [p.name for p in records.people()] == ["Ann Lee", "New", "Zoë 李"]
    assert [row[2] for row in rows(old, AUDIT)[len(audit) :]] == ["add", "remove"]


def test_new_and_migrated_galleries_have_the_same_tables(old: Path, tmp_path: Path) -> None:
    GalleryRecords(old).close()
    GalleryRecords(tmp_path / "new.db", CONTRACT, create=True).close()
    query = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    assert rows(old, query) == rows(tmp_path / "new.db", query)
    for (table,) in rows(old, "SELECT name FROM sqlite_schema WHERE type = 'table'"):
        columns = f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}')"
        assert rows(old, columns) == rows(tmp_path / "new.db", columns)


def test_a_gallery_of_schema_3_is_led_to_the_latest_schema(tmp_path: Path) -> None:
    path = Path(shutil.copy(SCHEMA_3, tmp_path / "old.db"))
    assert rows(path, "PRAGMA user_version") == [(3,)]
    columns = "SELECT id, person, space, photo, embedding, quality, enrolled FROM templates"
    before = rows(path, columns), rows(path, AUDIT)
    GalleryRecords(path).close()
    assert (rows(path, columns), rows(path, AUDIT)) == before
    check_seals(path, CONTRACT.space, CONTRACT.dim)
    assert rows(path, "SELECT name FROM people ORDER BY name") == [(name,) for name, _ in PEOPLE]
    uids = [uid for (uid,) in rows(path, "SELECT uid FROM people ORDER BY id")]
    assert len(set(uids)) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", uid) for uid in uids)
    with GalleryRecords(path, CONTRACT) as records:
        with records.transaction():
            records.add("New", [Template(embedding(9), f"{9:064x}", 1.0)])
            records.remove("Bob")
        assert [person.name for person in records.people()] == ["Ann Lee", "New", "Zoë 李"]
    assert rows(path, "SELECT uid, merged_into FROM removed_people") == [(uids[1], None)]
    new = rows(path, "SELECT uid FROM people WHERE name = 'New'")[0][0]
    assert re.fullmatch("[0-9a-f]{32}", new)
    assert new not in uids


def test_a_gallery_of_schema_5_is_led_to_the_latest_schema(tmp_path: Path) -> None:
    """Read as it is without write access, and the same after the migration; a damaged template stays so."""
    path = Path(shutil.copy(SCHEMA_5, tmp_path / "old.db"))
    change(path, "UPDATE templates SET embedding = ? WHERE photo = ?", (embedding(9).tobytes(), f"{3:064x}"))
    people = {"Ann": [1, 2, 4], "Di Øst": [5]}
    for read_only in (True, False):
        with GalleryRecords(path, read_only=read_only) as records:
            assert [person.name for person in records.people()] == ["Ann", "Bo", "Di Øst"]
            for name, seeds in people.items():
                found = records.templates(name)
                assert [template.photo for template in found] == [f"{seed:064x}" for seed in seeds]
                assert np.array_equal([t.embedding for t in found], [embedding(seed) for seed in seeds])
            with pytest.raises(Unreadable, match="'Bo'"):
                records.templates("Bo")
    assert rows(path, "SELECT checksum FROM templates WHERE photo = '%064x'" % 3) == [("",)]  # noqa: UP031
    change(path, "DELETE FROM templates WHERE checksum = ''")
    check_seals(path, CONTRACT.space, CONTRACT.dim)


def test_a_gallery_of_schema_6_is_led_to_the_latest_schema(tmp_path: Path) -> None:
    """Nobody knows who asked for what was done before."""
    path = Path(shutil.copy(SCHEMA_6, tmp_path / "old.db"))
    before, done = path.read_bytes(), [("add", None), ("add", None), ("rename", None)]
    with GalleryRecords(path, read_only=True) as records:
        assert [(entry.action, entry.by) for entry in records.audit_entries()] == done
    assert path.read_bytes() == before
    with GalleryRecords(path, by="desk") as records:
        with records.transaction():
            records.rename("Bob", "Bo")
            records.remove("Ann")
        done += [("rename", "desk"), ("remove", "desk")]
        assert [(entry.action, entry.by) for entry in records.audit_entries()] == done


def test_reads_of_a_gallery_of_schema_6_can_be_audited(tmp_path: Path) -> None:
    """It has none, and takes some once it may be written to."""
    path = Path(shutil.copy(SCHEMA_6, tmp_path / "old.db"))
    with GalleryRecords(path, read_only=True) as records:
        assert list(records.read_entries()) == []
    done = ReadEntry("search", 2, "found", "small", "a" * 12, fpir=0.01)
    with GalleryRecords(path, by="desk", audit_reads=True) as records:
        records.note_reads([done])
        assert list(records.read_entries()) == [replace(done, by="desk")]
        assert [entry.action for entry in records.audit_entries()] == ["add", "add", "rename"]
    with pytest.raises(sqlite3.IntegrityError), GalleryRecords(path) as records:
        records.note_reads([replace(done, action="wash")])
    assert not list(GalleryCheck(path).faults())


def test_each_gallery_gives_uids_of_its_own(old: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(old, tmp_path / "copy.db"))
    found = []
    for path in (old, copy):
        GalleryRecords(path).close()
        found += rows(path, "SELECT uid FROM people")
    assert len(set(found)) == 2 * len(PEOPLE)


class TestAnAddition:
    """Adding an audit action and a column: one migration each."""

    @pytest.fixture
    def added(self, monkeypatch: pytest.MonkeyPatch) -> int:
        action = migrations.statements("INSERT INTO audit_actions (action) VALUES ('export')")
        column = migrations.statements("ALTER TABLE people ADD COLUMN note TEXT NOT NULL DEFAULT ''")
        monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, action, column))
        return len(migrations.MIGRATIONS)

    def test_reaches_every_gallery(self, old: Path, tmp_path: Path, added: int, monkeypatch) -> None:
        latest = tmp_path / "latest.db"
        with monkeypatch.context() as before:
            before.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:-2])
            with GalleryRecords(latest, CONTRACT, create=True) as records, records.transaction():
                records.add("Ann", [Template(embedding(1), f"{1:064x}", 1.0)])
        with GalleryRecords(tmp_path / "new.db", CONTRACT, create=True) as records:
            assert records.people() == []
        for path in (old, latest, tmp_path / "new.db"):
            with GalleryRecords(path) as records:
                for person in records.people():
                    assert len(records.templates(person.name)) == person.templates
            assert rows(path, "PRAGMA user_version") == [(added,)]
            db = sqlite3.connect(path)
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("INSERT INTO audit (date, action, person, templates) VALUES ('', 'export', 1, 0)")
            with pytest.raises(sqlite3.IntegrityError):
                db.execute("INSERT INTO audit (date, action, person, templates) VALUES ('', 'wash', 1, 0)")
            assert db.execute("SELECT count(*) FROM people WHERE note != ''").fetchone() == (0,)
            db.close()

    def test_one_that_fails_leaves_the_gallery_as_it_was(self, old: Path, monkeypatch) -> None:
        wrong = migrations.statements("DELETE FROM templates", "INSERT INTO nowhere VALUES (1)")
        before, whole = rows(old, "SELECT id, name FROM people"), migrations.MIGRATIONS
        monkeypatch.setattr(migrations, "MIGRATIONS", (*whole, wrong))
        with pytest.raises(Exception, match="nowhere"):
            GalleryRecords(old)
        monkeypatch.setattr(migrations, "MIGRATIONS", whole)
        with GalleryRecords(old) as records:
            assert [(p.name, p.templates) for p in records.people()] == PEOPLE
        assert rows(old, "SELECT id, name FROM people") == before
        assert rows(old, "PRAGMA user_version") == [(len(whole),)]


_KILLED_INSIDE = """
import os, signal, sys
from facekd.gallery import GalleryRecords, migrations
number = int(sys.argv[2])
whole = migrations.MIGRATIONS
def cut_short(db):
    whole[number](db)
    os.kill(os.getpid(), signal.SIGKILL)
migrations.MIGRATIONS = (*whole[:number], cut_short, *whole[number + 1:])
GalleryRecords(sys.argv[1])
"""


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, migrations.READS_SINCE - 1])
def test_killed_inside_a_migration(old: Path, number: int) -> None:
    """Every statement of the migration had run, and nothing was committed: it never happened."""
    process = subprocess.run([sys.executable, "-c", _KILLED_INSIDE, str(old), str(number)], check=False)
    assert process.returncode == -9
    assert rows(old, "PRAGMA user_version") == [(number,)]
    with GalleryRecords(old) as records:
        assert [(p.name, p.templates) for p in records.people()] == PEOPLE
        for name, count in PEOPLE:
            assert len(records.templates(name)) == count
    assert rows(old, "PRAGMA integrity_check") == [("ok",)]


_OPEN = """
import sys
from facekd.gallery import GalleryRecords
import numpy
print("ready", flush=True)
GalleryRecords(sys.argv[1])
"""


def test_killed_at_any_moment_of_a_migration(old: Path, tmp_path: Path) -> None:
    """A gallery of schema 1 with 10,000 templates."""
    space, dim = rows(old, "SELECT space, dim FROM contract")[0]
    rng = np.random.default_rng(0).normal(size=(10_000, dim))
    many = (rng / np.linalg.norm(rng, axis=1, keepdims=True)).astype("<f4")
    db = sqlite3.connect(old)
    db.executemany(
        "INSERT INTO templates (person, space, photo, embedding, quality, enrolled)"
        " VALUES (1, ?, ?, ?, 1, '')",
        [(space, f"{n + 100:064x}", row.tobytes()) for n, row in enumerate(many)],
    )
    db.commit()
    db.close()
    reached = set()
    moments = random.Random(0)
    for number in range(4):
        copy = Path(shutil.copy(old, tmp_path / f"{number}.db"))
        process = subprocess.Popen(
            [sys.executable, "-c", _OPEN, str(copy)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.communicate()
        reached.add(rows(copy, "PRAGMA user_version")[0][0])
        with GalleryRecords(copy) as records:
            assert len(records.templates("Ann Lee")) == 10_002
        assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert reached <= set(range(1, migrations.latest() + 1))


class TestDamage:
    """A damaged template is an error that names the person, never a score."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        with GalleryRecords(tmp_path / "gallery.db", CONTRACT, create=True) as records:
            for name, seed in (("Ann", 1), ("Bo", 2)):
                with records.transaction():
                    records.add(name, [Template(embedding(seed), f"{seed:064x}", 1.0)])
        return tmp_path / "gallery.db"

    def check(self, path: Path) -> None:
        with GalleryRecords(path) as records:
            with pytest.raises(Unreadable, match="template of 'Ann'") as caught:
                records.templates("Ann")
            assert caught.value.exit_code == 5
            assert len(records.templates("Bo")) == 1

    def test_negated(self, path: Path) -> None:
        change(path, "UPDATE templates SET embedding = ? WHERE person = 1", ((-embedding(1)).tobytes(),))
        self.check(path)

    def test_of_another_photo(self, path: Path) -> None:
        change(path, "UPDATE templates SET embedding = ? WHERE person = 1", (embedding(2).tobytes(),))
        self.check(path)

    def test_with_another_ones_checksum_as_well(self, path: Path) -> None:
        change(
            path,
            "UPDATE templates SET (embedding, checksum) ="
            " (SELECT embedding, checksum FROM templates WHERE person = 2) WHERE person = 1",
        )
        self.check(path)

    def read_in_every_way(self, path: Path) -> list[str]:
        """What is said of each way in which somebody's templates are read."""
        said = []
        with GalleryRecords(path, read_only=True) as records:
            for read in (
                lambda: records.templates("Ann"),
                lambda: records.templates("Bo"),
                records.everybody,
            ):
                with pytest.raises(Unreadable, match="a template of") as caught:
                    read()
                said.append(caught.value.cause)
        faults = list(GalleryCheck(path).faults())
        assert {fault.kind for fault in faults} == {"template"}
        return [*said, *(fault.message for fault in faults)]

    def test_given_to_one_another(self, path: Path) -> None:
        """Two people's templates are exchanged, each with its checksum, which covers whose they are."""
        change(path, "UPDATE templates SET person = 3 - person")
        said = self.read_in_every_way(path)
        assert all("checksum" in text for text in said[3:])
        assert len(said) == 5

    def test_names_exchanged(self, path: Path) -> None:
        change(path, "UPDATE people SET name = 'x' WHERE name = 'Ann'")
        change(path, "UPDATE people SET name = 'Ann' WHERE name = 'Bo'")
        change(path, "UPDATE people SET name = 'Bo' WHERE name = 'x'")
        assert len(self.read_in_every_way(path)) == 5

    @pytest.mark.parametrize("column", ["quality = 0.25", "enrolled = '2026-01-01T00:00:00+00:00'"])
    def test_in_what_stands_beside_it(self, path: Path, column: str) -> None:
        change(path, f"UPDATE templates SET {column} WHERE person = 1")
        self.check(path)

    def test_a_new_name_and_a_merger_make_nothing_whole(self, path: Path) -> None:
        change(path, "UPDATE templates SET embedding = ? WHERE person = 1", (embedding(3).tobytes(),))
        with GalleryRecords(path, CONTRACT) as records:
            with records.transaction():
                records.rename("Ann", "Anna")
                records.rename("Bo", "Bob")
            assert records.templates("Bob")[0].photo == f"{2:064x}"
            with pytest.raises(Unreadable, match="template of 'Anna'"):
                records.templates("Anna")
            with records.transaction():
                records.merge("Bob", "Anna")
            with pytest.raises(Unreadable, match="template of 'Bob'"):
                records.templates("Bob")

    @pytest.mark.parametrize(
        "blob",
        [
            b"",
            embedding(1)[:32].tobytes(),
            embedding(1).tobytes() + b"\0\0\0\0",
            (embedding(1) * 2).tobytes(),
            np.full(64, np.nan, np.float32).tobytes(),
            np.full(64, np.inf, np.float32).tobytes(),
            np.zeros(64, np.float32).tobytes(),
        ],
    )
    def test_of_another_kind(self, path: Path, blob: bytes) -> None:
        """Such a vector is refused whatever its checksum says, so it is given the right one."""
        uid, enrolled = rows(path, "SELECT uid, enrolled FROM people JOIN templates ON person = people.id")[0]
        said = json.dumps([CONTRACT.space, CONTRACT.dim, uid, "Ann", f"{1:064x}", 1.0, enrolled]).encode()
        seal = hashlib.sha256(b"facekd row\n" + said + b"\n" + blob).hexdigest()
        change(path, "UPDATE templates SET embedding = ?, checksum = ? WHERE person = 1", (blob, seal))
        self.check(path)

    def test_a_migration_makes_nothing_whole(self, old: Path) -> None:
        change(old, "UPDATE templates SET embedding = ? WHERE id = 3", (b"\x7f" * 64,))
        for _ in range(2):
            with GalleryRecords(old) as records:
                with pytest.raises(Unreadable, match="template of 'Bob'"):
                    records.templates("Bob")
                assert len(records.templates("Ann Lee")) == 2

    def test_flipped_bytes_anywhere(self, path: Path) -> None:
        """A gallery in which one byte is another gives what was written, or says that it is damaged."""
        content, flip = path.read_bytes(), random.Random(0)
        used = [place for place, byte in enumerate(content) if byte]
        written = [embedding(1), embedding(2)]
        codes = []
        for _ in range(300):
            changed = bytearray(content)
            changed[flip.choice(used)] ^= 1 << flip.randrange(8)
            path.write_bytes(bytes(changed))
            found, code = read_all(path)
            codes.append(code)
            assert all(any(np.array_equal(row, one) for one in written) for row in found)
        assert set(codes) <= {0, 2, 4, 5}
        assert codes.count(5) > 20
