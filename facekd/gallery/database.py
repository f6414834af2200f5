"""The gallery's SQLite file: created private, opened durable, its failures put into words."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facekd.errors import InputOutput, Unreadable

#: "fkdG", in the header of the file (PRAGMA application_id)
APPLICATION_ID = 0x666B6447
SCHEMA_VERSION = 1

#: how long to wait for another program that writes, or whose reading blocks an erasure
BUSY_SECONDS = 5.0

RESTORE = "Restore it from a copy."

# Ids of people are never used twice, so that the audit stays true after a removal; it holds no
# names, since a name is personal data that a removal must take along.
_SCHEMA = (
    """CREATE TABLE contract (
        space TEXT PRIMARY KEY, dim INTEGER NOT NULL CHECK (dim > 0), model TEXT NOT NULL,
        detector TEXT NOT NULL, aligner TEXT NOT NULL, created TEXT NOT NULL) STRICT""",
    """CREATE TRIGGER one_contract BEFORE INSERT ON contract WHEN (SELECT count(*) FROM contract) > 0
        BEGIN SELECT raise(ABORT, 'a gallery has one contract'); END""",
    """CREATE TABLE people (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT""",
    """CREATE TABLE templates (
        id INTEGER PRIMARY KEY,
        person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
        space TEXT NOT NULL REFERENCES contract (space),
        photo TEXT NOT NULL CHECK (length(photo) = 64),
        embedding BLOB NOT NULL, quality REAL NOT NULL, enrolled TEXT NOT NULL,
        UNIQUE (person, photo)) STRICT""",
    "CREATE INDEX templates_by_photo ON templates (photo)",
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY, date TEXT NOT NULL, action TEXT NOT NULL CHECK (action IN ('add', 'remove')),
        person INTEGER NOT NULL, templates INTEGER NOT NULL) STRICT""",
)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's failures into `InputOutput`, or `Unreadable` where the file is not a gallery."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            raise Unreadable(f"{path}: not a facekd gallery ({error})") from error
        if code == sqlite3.SQLITE_CORRUPT:
            raise Unreadable(
                f"{path}: the gallery is damaged ({error})", "Restore it from a copy."
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise InputOutput(
                f"{path}: another program is writing to it", "Try again when it is done."
            ) from error
        raise InputOutput(f"{path}: {error}") from error


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether another connection stood in the way."""
    return (error.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def create_private(path: Path) -> None:
    """Make sure that ``path`` exists; a new file has mode 0600 from its first moment.

    SQLite gives the files that it keeps beside (``-wal``, ``-shm``) the mode of the file itself.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        # a file without content may come from anywhere; it is made private before it is filled
        if path.is_file() and path.stat().st_size == 0:
            path.chmod(0o600)
    except OSError as error:
        raise InputOutput(f"{path}: cannot be created ({error.strerror})") from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection to an existing file; its content has not been looked at yet."""
    if path.is_dir():
        raise InputOutput(f"{path}: a folder, not a gallery file")
    if not path.exists():
        raise InputOutput(f"{path}: no such gallery", "'facekd enroll' makes one; --gallery names it.")
    # mode=rw: SQLite must not create the file, it would get the mode of the umask
    address = path.absolute().as_uri() + "?mode=rw"
    db = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def is_empty(db: sqlite3.Connection) -> bool:
    """Whether nothing has been stored: a new file, or one whose creation was cut short."""
    return application_id(db) == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0


def application_id(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA application_id").fetchone()[0])


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Raise `Unreadable` where the file is empty, another program's, or of a newer facekd."""
    if is_empty(db):
        raise Unreadable(f"{path}: an empty file, not a facekd gallery", "'facekd enroll' makes one.")
    if application_id(db) != APPLICATION_ID:
        raise Unreadable(f"{path}: a database of another program, not a facekd gallery")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise Unreadable(
            f"{path}: a gallery of schema {version}, this facekd reads schema {SCHEMA_VERSION}",
            "Use the facekd that wrote it, or a newer one.",
        )


def make_durable(db: sqlite3.Connection, path: Path) -> None:
    """Settings that a connection needs each time: what is committed survives a pulled plug, and
    what is deleted is overwritten. Called once the file is known to be ours or empty."""
    if _write_ahead(db) != "wal":
        raise InputOutput(
            f"{path}: this file system cannot keep a write-ahead log", "Put it on a local disk."
        )
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA secure_delete = ON")
    # VACUUM would otherwise write all templates to a temporary file elsewhere on the disk
    db.execute("PRAGMA temp_store = MEMORY")


def _write_ahead(db: sqlite3.Connection) -> str:
    """Ask for a write-ahead log; the mode that the file then has.

    Where another connection is just changing the mode too, SQLite says at once that the file is
    busy, whatever the connection's timeout: so the waiting is done here.
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return str(db.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
        time.sleep(0.02)


def create_schema(db: sqlite3.Connection) -> None:
    """The tables, the mark and the version of a gallery; inside a transaction."""
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
