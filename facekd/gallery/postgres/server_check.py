"""Checks of a gallery that are specific to a server; see `facekd.gallery.checking`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from facekd.gallery.encryption import stated_in
from facekd.gallery.faults import MAKE_ANEW, RESTORE, Fault
from facekd.gallery.names import shown
from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres import chosen_search, directions, left_behind, migrating, outside_check
from facekd.gallery.postgres.gallery_server import GalleryServer
from facekd.gallery.template import unpack
from facekd.runtime import fuse

#: the catalogue of a gallery of the latest schema, one object per line; a test compares it with
#: the migrations
_LAYOUT = Path(__file__).with_name("layout.txt")
#: the objects of search indexes: of each file all or none must exist
_OF_INDEX = ("layout_search_index.txt", "layout_vectors.txt", "layout_outside.txt")

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

#: a type of pgvector, in any schema and of any number of values
_DIMENSIONS = re.compile(r"\S*vector\(\d+\)")
#: tolerance for a value of a direction that another machine computed
_ROUNDED = 1e-5
_MOVE_AWAY = (
    "Copy the gallery to a new database (facekd gallery copy), and drop this one: that deletes all its files."
)
_BUILD_ANEW = "Rebuild the index: facekd gallery index --engine pgvector"


def layout(server: GalleryServer) -> set[str]:
    """The objects in the catalogue, one per line."""
    return {_DIMENSIONS.sub("vector", line) for (line,) in server.rows(_CATALOGUE)}


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
        return self._tables, self._references, self._vectors, self._outside, self._left_behind

    def _tables(self) -> Iterator[Fault]:
        if self.schema != migrating.latest():  # the layouts of older schemas are not recorded
            return
        wanted = set(_LAYOUT.read_text(encoding="utf-8").splitlines())
        found = layout(self._server)
        for name in _OF_INDEX:
            lines = set(_LAYOUT.with_name(name).read_text(encoding="utf-8").splitlines())
            for line in sorted(lines - found) if lines & found else ():
                yield Fault("index", f"{line} is missing", _BUILD_ANEW)
            found -= lines
        for line in sorted(wanted - found):
            yield Fault("schema", f"{line} is missing", RESTORE)
        for line in sorted(found - wanted):
            yield Fault("schema", f"{shown(line)} does not belong in a gallery", MAKE_ANEW)

    def _references(self) -> Iterator[Fault]:
        for (row,) in self.query(
            "SELECT templates.id FROM templates LEFT JOIN people ON people.id = person"
            " WHERE people.id IS NULL"
        ):
            yield Fault("orphan", f"template {row} belongs to no person", MAKE_ANEW)
        for (row,) in self.query(
            "SELECT audit.id FROM audit LEFT JOIN audit_actions USING (action) WHERE audit_actions IS NULL"
        ):
            message = f"row {row} of audit refers to a row of audit_actions that does not exist"
            yield Fault("reference", message, RESTORE)

    def _vectors(self) -> Iterator[Fault]:
        """Check that the search index of pgvector, if there is one, holds everybody with their current
        direction."""
        choice = chosen_search.read(self._server)
        is_chosen = choice is not None and choice[0] == "pgvector"
        there = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('facekd.vectors')"
        if self._server.rows(f"{there} AND attname = 'direction' AND NOT attisdropped") == [(0,)]:
            if is_chosen:
                yield Fault("index", "the search index that was chosen is missing", _BUILD_ANEW)
            return
        of_space = self._server.rows(
            "SELECT obj_description(to_regclass('facekd.vectors')), space FROM contract"
        )
        if len({space for row in of_space for space in row}) > 1:
            yield Fault("index", "the search index is of another space than the gallery", _BUILD_ANEW)
        for (name,) in self.query(
            "SELECT name FROM people WHERE NOT EXISTS (SELECT FROM vectors_due WHERE person = id)"
            " AND NOT EXISTS (SELECT FROM vectors WHERE person = id)"
        ):
            yield Fault("index", f"'{shown(str(name))}' is not in the search index", _BUILD_ANEW)
        for (row,) in self.query(
            "SELECT person FROM vectors LEFT JOIN people ON id = person WHERE id IS NULL"
        ):
            yield Fault("index", f"person {row} is in the search index, but not enrolled", _BUILD_ANEW)
        rows = self.query(
            "SELECT person, name, direction, embedding FROM vectors JOIN people ON id = person"
            " JOIN templates USING (person) ORDER BY person, templates.id"
        )
        for (_, name), own in groupby(rows, key=itemgetter(0, 1)):
            if not _is_direction_of(*zip(*(row[2:] for row in own), strict=True)):
                message = f"the search index does not hold the templates of '{shown(str(name))}'"
                yield Fault("index", message, _BUILD_ANEW)

    def _outside(self) -> Iterator[Fault]:
        """Check that the search index on another server, if there is one, holds exactly the people
        enrolled."""
        choice = chosen_search.read(self._server)
        is_chosen = choice is not None and choice[0] == "milvus"
        yield from outside_check.look(self._server, str(choice[1]) if choice and is_chosen else None)

    def _left_behind(self) -> Iterator[Fault]:
        """Look for files that a crash of the server left beside those of the tables."""
        found = list(left_behind.look(self._server))
        if found:
            files = ", ".join(left.path for left in found)
            message = (
                "a crash of the server left files that belong to no table, perhaps with people who have been "
                f"removed since ({sum(left.size for left in found) / 1e3:,.0f} kB): {files}"
            )
            yield Fault("left_behind", message, _MOVE_AWAY)


def _is_direction_of(direction: tuple[Any, ...], embeddings: tuple[Any, ...]) -> bool:
    """Whether ``direction``, in pgvector's binary form, is that of the mean of ``embeddings``; `True` if
    these cannot be read, which is reported as another fault."""
    held = directions.unpacked(direction[0])
    rows = [unpack(blob, len(held)) for blob in embeddings]
    read = [row for row in rows if row is not None]
    return len(read) < len(rows) or bool(np.allclose(held, fuse(read), atol=_ROUNDED))
