"""Checks of a gallery's file that are specific to SQLite; see `checking`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from facekd.gallery import database
from facekd.gallery.encryption import stated_in
from facekd.gallery.faults import MAKE_ANEW, RESTORE, Fault
from facekd.gallery.migrations import MIGRATIONS, schema_of
from facekd.gallery.names import shown
from facekd.gallery.reading import Reader

#: most lines from SQLite's own check
_LINES = 100


class FileUnderCheck:
    """The gallery's file at ``path``, in one snapshot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with database.explained(path):
            self._reader = Reader(path)
            try:
                database.check_schema(self._reader.db, path)
                self.schema = schema_of(self._reader.db)
                self.encryption = stated_in(self._reader.db, path, self.schema)
            except BaseException:
                self._reader.close()
                raise
        self._db = self._reader.db
        # text that is not UTF-8 must not end the check
        self._db.text_factory = lambda text: text.decode("utf-8", "surrogateescape")

    def begin(self) -> None:
        with database.explained(self._path):
            self._db.execute("BEGIN")

    def finish(self) -> None:
        """Raise `InputOutput` if the file changed while it was being read."""
        self._reader.check_unchanged()

    def close(self) -> None:
        self._reader.close()

    def explained(self) -> AbstractContextManager[None]:
        return database.explained(self._path)

    def query(self, query: str) -> Iterator[tuple[Any, ...]]:
        return self._db.execute(query)

    def looks(self) -> tuple[Callable[[], Iterator[Fault]], ...]:
        return self._pages, self._tables, self._references

    def _pages(self) -> Iterator[Fault]:
        for (line,) in self.query(f"PRAGMA integrity_check({_LINES})"):
            if line != "ok":
                yield Fault("database", f"SQLite: {line}", RESTORE)

    def _tables(self) -> Iterator[Fault]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
            for migration in MIGRATIONS[: self.schema]:
                migration(model)
            wanted, found = _layout(model), _layout(self._db)
        for name in sorted(wanted.keys() | found.keys()):
            if name not in found:
                yield Fault("schema", f"{name} is missing", RESTORE)
            elif name not in wanted:
                yield Fault("schema", f"{shown(name)} does not belong in a gallery", MAKE_ANEW)
            elif wanted[name] != found[name]:
                yield Fault("schema", f"{name} differs from schema {self.schema}", RESTORE)

    def _references(self) -> Iterator[Fault]:
        for table, row, parent, _ in self.query("PRAGMA foreign_key_check"):
            if (table, parent) == ("templates", "people"):
                yield Fault("orphan", f"template {row} belongs to no person", MAKE_ANEW)
            else:
                message = f"row {row} of {table} refers to a row of {parent} that does not exist"
                yield Fault("reference", message, RESTORE)


def _layout(db: sqlite3.Connection) -> dict[str, tuple]:
    """Tables with their columns, indexes and triggers, by name, without SQLite's own."""
    found = {}
    for kind, name, table in db.execute("SELECT type, name, tbl_name FROM sqlite_schema").fetchall():
        if not name.startswith("sqlite_"):
            columns = db.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (name,))
            found[f"{kind} {name}"] = (table, *columns.fetchall())
    return found
