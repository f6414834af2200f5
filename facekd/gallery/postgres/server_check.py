"""Checks of a gallery that are specific to a server; see `facekd.gallery.checking`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from facekd.gallery.encryption import stated_in
from facekd.gallery.faults import MAKE_ANEW, RESTORE, Fault
from facekd.gallery.names import shown
from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres import migrating
from facekd.gallery.postgres.gallery_server import GalleryServer

#: the catalogue of a gallery of the latest schema, one object per line; a test compares it with
#: the migrations
_LAYOUT = Path(__file__).with_name("layout.txt")

#: deparsed definitions differ between versions of PostgreSQL, so objects are listed by kind and name
_CATALOGUE = """
SELECT 'column ' || relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
    || CASE WHEN attnotnull THEN ' not null' ELSE '' END
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = 'facekd'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT CASE WHEN indisunique THEN 'unique index ' ELSE 'index ' END || indrelid::regclass::text || ' '
    || relname || CASE WHEN indisvalid THEN '' ELSE ' (not valid)' END
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'facekd'::regnamespace
UNION ALL
SELECT 'constraint ' || conrelid::regclass::text || ' ' || conname
    || CASE WHEN convalidated THEN '' ELSE ' (not valid)' END
FROM pg_constraint WHERE connamespace = 'facekd'::regnamespace AND contype IN ('c', 'f', 'p', 'u')
UNION ALL
SELECT 'trigger ' || tgrelid::regclass::text || ' ' || tgname
    || CASE WHEN tgenabled = 'O' THEN '' ELSE ' (not enabled)' END
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = 'facekd'::regnamespace AND NOT tgisinternal
UNION ALL
SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'facekd'::regnamespace
"""


def layout(server: GalleryServer) -> set[str]:
    """The objects in the catalogue, one per line."""
    return {line for (line,) in server.rows(_CATALOGUE)}


class ServerUnderCheck:
    """The gallery in the database at ``path``, in one snapshot."""

    def __init__(self, path: ServerAddress) -> None:
        self._server = GalleryServer(path, read_only=True)
        self._open = ExitStack()
        try:
            with self._server.reading():
                self.schema = self._server.schema
                self.encryption = stated_in(self._server.db, path, self.schema)
        except BaseException:
            self._server.close()
            raise

    def begin(self) -> None:
        self._open.enter_context(self._server.snapshot())

    def finish(self) -> None:
        """Do nothing: the snapshot cannot have changed."""

    def close(self) -> None:
        self._open.close()
        self._server.close()

    def explained(self) -> AbstractContextManager[None]:
        return self._server.reading()

    def query(self, query: str) -> Iterator[tuple[Any, ...]]:
        return self._server.stream(query)

    def looks(self) -> tuple[Callable[[], Iterator[Fault]], ...]:
        return self._tables, self._references

    def _tables(self) -> Iterator[Fault]:
        if self.schema != migrating.latest():  # the layouts of older schemas are not recorded
            return
        wanted = set(_LAYOUT.read_text(encoding="utf-8").splitlines())
        found = layout(self._server)
        for line in sorted(wanted - found):
            yield Fault("schema", f"{line} is missing", RESTORE)
        for line in sorted(found - wanted):
            yield Fault("schema", f"{shown(line)} does not belong in a gallery", MAKE_ANEW)

    def _references(self) -> Iterator[Fault]:
        for (row,) in self.query(
            "SELECT templates.id FROM templates LEFT JOIN people ON people.id = person"
            " WHERE people.id IS NULL"
        ):
            yield Fault("orphan", f"template {row} belongs to nobody", MAKE_ANEW)
        for (row,) in self.query(
            "SELECT audit.id FROM audit LEFT JOIN audit_actions USING (action) WHERE audit_actions IS NULL"
        ):
            message = f"row {row} of audit refers to a row of audit_actions that does not exist"
            yield Fault("reference", message, RESTORE)
