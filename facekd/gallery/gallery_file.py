"""The SQLite file of a gallery, open: its rows, its transactions, and the erasure after a removal.

This module and those that it uses hold what is specific to SQLite; `records` defines what the rows mean.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.gallery import database, search_file
from facekd.gallery.migrations import STATE_SINCE, latest, schema_of
from facekd.gallery.reading import Reader, finish_log

Rows = list[tuple[Any, ...]]


class GalleryFile:
    """A gallery's file, migrated to the latest schema unless ``read_only``, which needs no write access.

    After a transaction, ``pending`` states whether bytes of removed data remain in the file because another
    program is reading. Failures raise `InputOutput` or `Unreadable`.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        self.pending = False
        self._changing = False
        self._removed = False
        self._reader: Reader | None = None
        with database.explained(path):
            if read_only:
                self._reader = Reader(path)
                self.db = self._reader.db
            else:
                self.db = database.connect(path)
            try:
                database.check_schema(self.db, path)
                if not read_only:
                    database.make_durable(self.db, path)
                    database.migrate(self.db)
                    self._finish_erasure()
            except BaseException:
                self.db.close()
                raise

    def close(self) -> None:
        """Close the file, and truncate the write-ahead log if nobody else is reading it, so that the last
        program to close completes a pending erasure."""
        if self._reader is not None:
            self._reader.close()
        else:
            finish_log(self.db)

    def rows(self, query: str, *values: object, types: tuple[type, ...] = ()) -> Rows:
        """All rows of ``query``. With the ``types`` of its columns, raises `Unreadable` if damage has changed
        the type of a value."""
        with self.reading():
            rows = self.db.execute(query, values).fetchall()
        if types:
            for row in rows:
                self.check_types(row, types)
        return rows

    def stream(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """As `rows`, without keeping all of them in memory."""
        with self.reading():
            yield from self.db.execute(query, values)

    def check_types(self, row: tuple[Any, ...], types: tuple[type, ...]) -> None:
        if not all(map(isinstance, row, types)):
            raise self.damaged("an entry cannot be read")

    def damaged(self, what: str) -> Exception:
        """The `Unreadable` to raise if the file does not hold what was written."""
        return database.damaged(self.path, what)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Failures of reading inside, including a change of the file, become clear errors."""
        with database.explained(self.path):
            yield
        if self._reader is not None:
            self._reader.check_unchanged()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside is from one moment, whatever others write in the meantime."""
        if self.db.in_transaction:
            yield
            return
        with database.explained(self.path):
            self.db.execute("BEGIN")
        try:
            yield
        finally:
            self.db.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As `GalleryRecords.transaction`."""
        if self._changing or self._reader is not None:
            raise RuntimeError("transactions do not nest, and a read-only gallery has none")
        with database.explained(self.path):
            try:
                with database.write_transaction(self.db):
                    self._changing, self._removed = True, False
                    yield
                    search_file.forget(self.path)
            finally:
                self._changing = False
            if self._removed:
                self._erase()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """A transaction that does not change who is enrolled: data kept for searches stays valid."""
        if self._changing or self._reader is not None:
            raise RuntimeError("transactions do not nest, and a read-only gallery has none")
        with database.explained(self.path), database.write_transaction(self.db):
            yield

    def must_change(self) -> None:
        """Raise `RuntimeError` outside of a transaction."""
        if not self._changing:
            raise RuntimeError("changes belong inside 'with records.transaction()'")

    def owe_erasure(self) -> None:
        """Have the file rewritten after this transaction, or by the next writer if this one is killed."""
        if not self._removed:
            self.db.execute("INSERT INTO erasures DEFAULT VALUES")
        self._removed = True

    def expect_erasure(self) -> None:
        """Nothing: what a failed transaction wrote is in the write-ahead log, which is truncated anyway."""

    def erase(self) -> bool:
        """Erase data that was deleted earlier and remains; return whether all of it is gone."""
        with database.explained(self.path):
            self._erase()
        return not self.pending

    def rewrite_templates(self, changed: Sequence[tuple[Any, ...]]) -> None:
        """Replace embeddings, given by embedding, checksum and number of each template."""
        self.db.executemany("UPDATE templates SET embedding = ?, checksum = ? WHERE id = ?", changed)

    def replace_templates(self, changed: Sequence[tuple[Any, ...]]) -> None:
        """Give templates another embedding: embedding, quality, checksum and number of each."""
        self.db.executemany(
            "UPDATE templates SET embedding = ?, quality = ?, checksum = ? WHERE id = ?", changed
        )

    def change_space(self, space: str) -> None:
        """Have the gallery and all its templates be of another space."""
        # templates refer to the contract's space: the reference must be checked after both have changed
        self.db.execute("PRAGMA defer_foreign_keys = ON")
        for table in ("contract", "templates"):
            self.db.execute(f"UPDATE {table} SET space = ?", (space,))

    def rewrite_names(self, changed: Sequence[tuple[Any, ...]]) -> None:
        """Replace stored names, given by name, lookup and number of each person."""
        self.db.executemany("UPDATE people SET name = ?, lookup = ? WHERE id = ?", changed)

    def version(self) -> int:
        """A number that changes when another program has changed the gallery."""
        return int(self.rows("PRAGMA data_version")[0][0])

    @property
    def schema(self) -> int:
        """The schema of the file at present: another program may migrate a file that is only read here."""
        return schema_of(self.db)

    def schemas(self) -> tuple[int, int]:
        """The schema of the file, and the one to which this facekd migrates it before a change."""
        with database.explained(self.path):
            return schema_of(self.db), latest()

    def state(self) -> str | None:
        """As `GalleryRecords.state`."""
        if self.schema < STATE_SINCE:
            return None
        rows = self.rows("SELECT word FROM state", types=(str,))
        if len(rows) != 1:
            raise self.damaged("its state is missing")
        return str(rows[0][0])

    def unfolded(self) -> Rows:
        """Number and name of people, including all whose name is not folded (`names.fold`)."""
        return self.rows("SELECT id, name FROM people", types=(int, str))

    def size(self) -> int:
        """Size of the file and its write-ahead log in bytes."""
        files = (Path(f"{os.path.realpath(self.path)}{ending}") for ending in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def is_indexed(self) -> bool:
        """`False`: a file contains no search index."""
        return False

    def due(self) -> list[str]:
        """Nobody: a file contains no search index."""
        return []

    def put_directions(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Do nothing: a file contains no search index."""

    def last_number(self) -> int:
        """The highest number that a person ever had."""
        rows = self.rows("SELECT seq FROM sqlite_sequence WHERE name = 'people'", types=(int,))
        return int(rows[0][0]) if rows else 0

    def number_after(self, number: int) -> None:
        """Give no new person a number up to ``number``."""
        with self.transaction():
            if self.db.execute("SELECT count(*) FROM sqlite_sequence WHERE name = 'people'").fetchone()[0]:
                update = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'people'"
            else:
                update = "INSERT INTO sqlite_sequence (seq, name) VALUES (?, 'people')"
            self.db.execute(update, (number,))

    def _erase(self) -> None:
        """Rewrite the file without deleted data, and empty the write-ahead log.

        A reader of an older snapshot keeps SQLite from overwriting it: the bytes then leave the file with
        the first checkpoint after the reader has finished.
        """
        self.pending = False
        owed = self._erasure_owed()
        try:
            self.db.execute("VACUUM")
            # later ones belong to other programs, which will erase them
            self.db.execute("DELETE FROM erasures WHERE id <= ?", (owed,))
        except sqlite3.OperationalError as error:
            if not database.is_busy(error):
                raise
            self.pending = True
        blocked = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        self.pending = self.pending or bool(blocked)

    def _erasure_owed(self) -> int:
        """The last removal after which the file has not been rewritten; 0 if there is none."""
        return int(self.db.execute("SELECT coalesce(max(id), 0) FROM erasures").fetchone()[0])

    def _finish_erasure(self) -> None:
        """Rewrite the file for a removal that was killed before it could, unless another program is writing
        or there is no room: it then remains for the next one."""
        if not self._erasure_owed():
            return
        self.db.execute("PRAGMA busy_timeout = 0")
        with suppress(sqlite3.OperationalError):
            self._erase()
        self.db.execute(f"PRAGMA busy_timeout = {int(1000 * database.BUSY_SECONDS)}")
