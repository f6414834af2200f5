"""The gallery's SQLite file: opened with durable settings, with its failures as clear errors."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facekd.errors import InputOutput, Unreadable
from facekd.files import open_regular
from facekd.gallery.migrations import latest, migrate_one, schema_of
from facekd.gallery.place import Place

#: "fkdG", in the file's header (PRAGMA application_id)
APPLICATION_ID = 0x666B6447

#: how long to wait for another program that is writing, or whose reading blocks an erasure
BUSY_SECONDS = 5.0

RESTORE = "Restore it from a backup."

#: SQLite's codes for a file that cannot be created, extended or written
OF_THE_DISK = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
)
#: bytes; half of them are for the index of a write-ahead log
_ROOM = 64 * 1024


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's failures into `InputOutput`, or `Unreadable` if the file is not a gallery."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except UnicodeDecodeError as error:  # in a name, or in SQLite's own message about damaged tables
        raise damaged(path, "a text is not UTF-8") from error
    except sqlite3.DatabaseError as error:
        code = code_of(error)
        if code == sqlite3.SQLITE_NOTADB:
            raise Unreadable(f"{path}: not a facekd gallery ({error})") from error
        if code == sqlite3.SQLITE_CORRUPT:
            raise damaged(path, str(error)) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise InputOutput(
                f"{path}: another program is writing to it", "Try again when it has finished."
            ) from error
        if code == sqlite3.SQLITE_FULL or (code in OF_THE_DISK and is_disk_full(path)):
            raise InputOutput(f"{path}: the disk is full", "Free some space and try again.") from error
        if code in OF_THE_DISK:
            raise InputOutput(
                f"{path}: the gallery cannot be opened or changed ({error})",
                "Check that you may write to it and to its folder.",
            ) from error
        raise InputOutput(f"{path}: {error}") from error


def damaged(path: Place, what: str) -> Unreadable:
    return Unreadable(f"{path}: the gallery is damaged ({what})", RESTORE)


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors of Python's module."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether another connection blocked this one."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_disk_full(path: Path) -> bool:
    """Whether the disk has no room for SQLite's auxiliary files."""
    try:
        if not hasattr(os, "statvfs"):  # on Windows, where this cannot be asked
            return shutil.disk_usage(path.parent).free < _ROOM
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _ROOM or (disk.f_files > 0 and disk.f_favail == 0)


def connect(path: Path, options: str = "mode=rw") -> sqlite3.Connection:
    """A connection to an existing file, whose contents have not been checked."""
    if path.is_dir():
        raise InputOutput(f"{path}: a folder, not a gallery file")
    if not path.exists():
        raise InputOutput(
            f"{path}: no such gallery", "'facekd enroll' creates one; --gallery selects another."
        )
    # SQLite would wait at a pipe for a writer
    open_regular(path).close()
    # never mode=rwc: SQLite must not create the file, which would get the mode of the umask
    address = f"{path.absolute().as_uri()}?{options}"
    db = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def is_empty(db: sqlite3.Connection) -> bool:
    """Whether nothing is stored: a new file, or one whose creation was interrupted."""
    return application_id(db) == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0


def application_id(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA application_id").fetchone()[0])


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Raise `Unreadable` if the file is empty, another program's, or of a newer facekd."""
    if is_empty(db):
        raise Unreadable(f"{path}: an empty file, not a facekd gallery", "'facekd enroll' creates one.")
    if application_id(db) != APPLICATION_ID:
        raise Unreadable(f"{path}: a database of another program, not a facekd gallery")
    schema = schema_of(db)
    if not 1 <= schema <= latest():
        raise Unreadable(
            f"{path}: a gallery of schema {schema}; this facekd reads schemas up to {latest()}",
            "Use the version of facekd that wrote it, or a newer one.",
        )


def make_durable(db: sqlite3.Connection, path: Path) -> None:
    """Set what each connection needs so that committed data survives a power cut and deleted data is
    overwritten. Called once the file is known to be a gallery or empty."""
    if _write_ahead(db) != "wal":
        raise InputOutput(
            f"{path}: this file system cannot keep a write-ahead log", "Put it on a local disk."
        )
    db.execute("PRAGMA synchronous = FULL")
    # on macOS, a sync otherwise leaves the data in the disk's cache; elsewhere this has no effect
    db.execute("PRAGMA fullfsync = ON")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA secure_delete = ON")
    # VACUUM would otherwise write all templates to a temporary file elsewhere on the disk
    db.execute("PRAGMA temp_store = MEMORY")


def _write_ahead(db: sqlite3.Connection) -> str:
    """Request a write-ahead log; return the journal mode that the file then has.

    While another connection is also changing the mode, SQLite reports at once that the file is busy, whatever
    the connection's timeout, so this function waits itself.
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return str(db.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
        time.sleep(0.02)


@contextmanager
def write_transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Everything inside is committed when the block ends, or nothing; other writers wait."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def create_schema(db: sqlite3.Connection) -> None:
    """Create the tables, the application id and the schema of a new gallery, inside a transaction."""
    while migrate_one(db):
        pass
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def migrate(db: sqlite3.Connection) -> None:
    """Migrate a gallery of an older schema to the latest, each step in its own transaction."""
    while schema_of(db) < latest():
        # another program may have been faster: `migrate_one` checks again inside
        with write_transaction(db):
            migrate_one(db)
