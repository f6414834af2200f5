"""The SQLite file of a gallery, open: its rows, its transactions, and the erasure that a removal owes.

What is peculiar to SQLite lies here and in the modules that this one uses; `records` says what the rows mean.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
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
    """A gallery's file, led to the latest schema unless it is ``read_only``, which needs no write access.

    ``pending`` says after a transaction whether somebody who is still reading kept the bytes of what was
    removed in the file. Failures raise `InputOutput` or `Unreadable`.
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
        """Close the file, and shorten the write-ahead log where nobody else is reading it, so
        that an erasure that was pending is completed by whoever comes last."""
        if self._reader is not None:
            self._reader.close()
        else:
            finish_log(self.db)

    def rows(self, query: str, *values: object, types: tuple[type, ...] = ()) -> Rows:
        """All rows of ``query``. With ``types`` of its columns, raise `Unreadable` where damage has turned
        a value into something else."""
        with self.reading():
            rows = self.db.execute(query, values).fetchall()
        if types:
            for row in rows:
                self.check_types(row, types)
        return rows

    def stream(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """As `rows`, without holding all of them."""
        with self.reading():
            yield from self.db.execute(query, values)

    def check_types(self, row: tuple[Any, ...], types: tuple[type, ...]) -> None:
        if not all(map(isinstance, row, types)):
            raise self.damaged("an entry cannot be read")

    def damaged(self, what: str) -> Exception:
        """The `Unreadable` to raise where the file does not hold what was written."""
        return database.damaged(self.path, what)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Failures of what is read inside are put into words, a change of the file meanwhile among them."""
        with database.explained(self.path):
            yield
        if self._reader is not None:
            self._reader.check_unchanged()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever others write meanwhile."""
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
        """A transaction of what is no change of who is enrolled: what was kept to search them stays."""
        if self._changing or self._reader is not None:
            raise RuntimeError("transactions do not nest, and a read-only gallery has none")
        with database.explained(self.path), database.write_transaction(self.db):
            yield

    def must_change(self) -> None:
        """Raise `RuntimeError` outside of a transaction."""
        if not self._changing:
            raise RuntimeError("changes belong inside 'with records.transaction()'")

    def owe_erasure(self) -> None:
        """Have the file rewritten after this transaction; by the next writer, should this one be killed."""
        if not self._removed:
            self.db.execute("INSERT INTO erasures DEFAULT VALUES")
        self._removed = True

    def erase(self) -> bool:
        """Erase what was deleted before and is still there; whether all of it is gone."""
        with database.explained(self.path):
            self._erase()
        return not self.pending

    def version(self) -> int:
        """A number that is another one after another program has changed the gallery."""
        return int(self.rows("PRAGMA data_version")[0][0])

    @property
    def schema(self) -> int:
        """That of the file now: another program may migrate what is only read here."""
        return schema_of(self.db)

    def schemas(self) -> tuple[int, int]:
        """The schema of the file, and the one that this facekd leads it to when it changes it."""
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
        """Number and name of people, among them all whose name is not folded (`names.fold`)."""
        return self.rows("SELECT id, name FROM people", types=(int, str))

    def size(self) -> int:
        """Bytes of the file and of its write-ahead log."""
        files = (Path(f"{os.path.realpath(self.path)}{ending}") for ending in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def due(self) -> list[str]:
        """Nobody: a file has no search index in it."""
        return []

    def put_directions(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Nothing, as `due` names nobody."""

    def last_number(self) -> int:
        """The highest number that a person ever had."""
        rows = self.rows("SELECT seq FROM sqlite_sequence WHERE name = 'people'", types=(int,))
        return int(rows[0][0]) if rows else 0

    def number_after(self, number: int) -> None:
        """Give nobody new a number up to ``number``."""
        with self.transaction():
            if self.db.execute("SELECT count(*) FROM sqlite_sequence WHERE name = 'people'").fetchone()[0]:
                update = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'people'"
            else:
                update = "INSERT INTO sqlite_sequence (seq, name) VALUES (?, 'people')"
            self.db.execute(update, (number,))

    def _erase(self) -> None:
        """Rewrite the file without what was deleted, and empty the write-ahead log.

        A reader on an older state keeps SQLite from overwriting it: then the bytes leave the file
        with the first checkpoint after the reader has gone.
        """
        self.pending = False
        owed = self._erasure_owed()
        try:
            self.db.execute("VACUUM")
            # those of other programs that came meanwhile are theirs to do
            self.db.execute("DELETE FROM erasures WHERE id <= ?", (owed,))
        except sqlite3.OperationalError as error:
            if not database.is_busy(error):
                raise
            self.pending = True
        blocked = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        self.pending = self.pending or bool(blocked)

    def _erasure_owed(self) -> int:
        """The last removal after which the file was not rewritten; 0 where there is none."""
        return int(self.db.execute("SELECT coalesce(max(id), 0) FROM erasures").fetchone()[0])

    def _finish_erasure(self) -> None:
        """Rewrite the file for a removal that was killed before it did, unless somebody else is writing or
        there is no room: then it stays for the next."""
        if not self._erasure_owed():
            return
        self.db.execute("PRAGMA busy_timeout = 0")
        with suppress(sqlite3.OperationalError):
            self._erase()
        self.db.execute(f"PRAGMA busy_timeout = {int(1000 * database.BUSY_SECONDS)}")
