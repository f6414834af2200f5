"""Read a gallery without write access: in a read-only folder, from a read-only file, on a full disk."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from facekd.errors import InputOutput
from facekd.files import real_path
from facekd.gallery import database


class Reader:
    """A connection ``db`` that changes nothing.

    SQLite creates an index beside the file if there is none (``-shm``). If it may not, and the
    write-ahead log is empty, the file is read as one that does not change, and
    `check_unchanged` detects if it did.

    Raises `InputOutput` if the log holds acknowledged enrollments that cannot be read in this way.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[object, ...] | None = None
        stamp = _stamp(path)
        self.db = database.connect(path, "mode=ro")
        try:
            self.db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return
        except sqlite3.OperationalError as error:
            self.db.close()
            if database.code_of(error) not in database.OF_THE_DISK:
                raise
            for log in _logs(path):
                if _size(log):
                    raise _unreadable_log(path, log) from error
        except BaseException:
            self.db.close()
            raise
        self._stamp = stamp
        self.db = database.connect(path, "mode=ro&immutable=1")

    def check_unchanged(self) -> None:
        """Raise `InputOutput` if what was just read may be half old and half new."""
        if self._stamp is not None and self._stamp != _stamp(self._path):
            raise InputOutput(f"{self._path}: it changed while it was being read", "Try again.")

    def close(self) -> None:
        """Close the file. The rest of the write-ahead log is moved into it if that is allowed: the last
        program to close completes a pending erasure."""
        self.db.close()
        if self._stamp is None and any(map(Path.exists, _logs(self._path))):
            with suppress(sqlite3.Error, InputOutput):
                finish_log(database.connect(self._path))


def finish_log(db: sqlite3.Connection) -> None:
    """Empty the write-ahead log and close, unless another program is reading it."""
    with suppress(sqlite3.Error):
        db.execute("PRAGMA busy_timeout = 0")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _logs(path: Path) -> list[Path]:
    """Where SQLite keeps data that is not in the file yet: beside the target of a link."""
    file = real_path(path)
    return [file.with_name(file.name + ending) for ending in ("-wal", "-journal")]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _stamp(path: Path) -> tuple[object, ...]:
    """A value that changes when the file or a log beside it is written."""
    if not path.exists():
        return ()
    file = path.stat()
    return file.st_ino, file.st_mtime_ns, file.st_size, *map(_size, _logs(path))


def _unreadable_log(path: Path, log: Path) -> InputOutput:
    why = "the disk is full" if database.is_disk_full(path) else "this needs write access to its folder"
    return InputOutput(
        f"{path}: enrollments in {log.name} cannot be read: {why}",
        "Run 'facekd gallery list' where its folder is writable: that moves them into the gallery.",
    )
