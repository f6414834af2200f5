"""Copy a gallery while it is in use, as a consistent snapshot."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from facekd.errors import UsageError
from facekd.gallery import database, server_backup
from facekd.gallery.migrations import UIDS_SINCE, schema_of
from facekd.gallery.new_file import open_new
from facekd.gallery.place import Place
from facekd.gallery.reading import Reader


def back_up(place: Place, copy: Path, replace: bool = False) -> int:
    """Copy the gallery at ``place`` to a file ``copy`` (mode 0600), which gets its name once it is complete
    and synced; return its size in bytes. The copy is a snapshot, encrypted with the same key if the gallery
    is. Others may read and write the gallery at the same time.

    Raises `UsageError` if the file exists already and ``replace`` is not given, or is the gallery itself;
    `Unreadable` if the copy is damaged, as the gallery then is.
    """
    target = Path(os.path.realpath(copy))
    check_target(place, target, copy)
    with open_new(copy, replace) as unfinished:
        if isinstance(place, Path):
            _copy(place, unfinished, copy)
        else:
            server_backup.copy_database(place, unfinished, copy)
        return unfinished.stat().st_size


def check_target(place: Place, target: Path, copy: Path) -> None:
    """Raise `UsageError` if ``target``, called ``copy`` in messages, is the gallery itself or in use."""
    if isinstance(place, Path) and target.exists() and place.exists() and target.samefile(place):
        raise UsageError(f"{copy} is the gallery itself", "Choose another file.")
    for ending in ("-wal", "-journal"):
        beside = Path(f"{target}{ending}")
        if beside.exists():  # SQLite would take it for part of the copy
            raise UsageError(f"{beside} exists: {copy} is in use, or was not closed", "Choose another file.")


def _copy(path: Path, unfinished: Path, copy: Path) -> None:
    with database.explained(path), closing(Reader(path)) as reader:
        database.check_schema(reader.db, path)
        with database.explained(copy), closing(sqlite3.connect(unfinished, isolation_level=None)) as db:
            reader.db.backup(db)
        reader.check_unchanged()
    with database.explained(copy), closing(database.connect(unfinished)) as db:
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise database.damaged(path, found)
        database.make_durable(db, copy)
        if schema_of(db) >= UIDS_SINCE and db.execute("SELECT count(*) FROM erasures").fetchone()[0]:
            # a removal is still being erased: the copy does not contain its last bytes
            db.execute("VACUUM")
            db.execute("DELETE FROM erasures")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
