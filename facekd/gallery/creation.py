"""Create a gallery's file: private from the start, and either complete or absent."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from facekd.errors import InputOutput
from facekd.files import sync_folder
from facekd.gallery import database

Fill = Callable[[sqlite3.Connection], None]


def create(path: Path, fill: Fill) -> None:
    """Make sure that there is a gallery file at ``path``; ``fill`` turns a new or empty file into a gallery,
    inside a transaction.

    A new file has mode 0600 from the start and gets its name once it is filled, so that a failure
    leaves nothing behind. SQLite gives its auxiliary files (``-wal``, ``-shm``) the mode of the
    main file.
    """
    if os.path.lexists(path):
        # an empty file may come from anywhere; it is made private before it is filled
        if path.is_file() and path.stat().st_size == 0:
            path.chmod(0o600)
            fill_empty(path, path, fill)
        return
    try:
        handle, name = tempfile.mkstemp(prefix=".facekd-", suffix=".db", dir=path.parent)
        os.close(handle)
        try:
            fill_empty(Path(name), path, fill)
            _give_name(Path(name), path)
        finally:
            for ending in ("", "-wal", "-shm", "-journal"):
                Path(name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise InputOutput(f"{path}: cannot be created ({error.strerror})") from error


def fill_empty(file: Path, path: Path, fill: Fill) -> None:
    """As `create`, for an empty ``file``, called ``path`` in messages."""
    with database.explained(path), closing(database.connect(file)) as db:
        if not database.is_empty(db):
            return
        # a row with 512 floats would waste nearly half of SQLite's default page
        db.execute("PRAGMA page_size = 8192")
        database.make_durable(db, path)
        with database.write_transaction(db):
            if database.is_empty(db):  # two programs may try at once: the second finds it filled
                fill(db)


def _give_name(unfinished: Path, path: Path) -> None:
    """Rename ``unfinished`` to ``path``, unless another program's gallery is there by now."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            return
        unfinished.rename(path)
    sync_folder(path.parent)
