"""Files of tables that a crash of the server left behind.

`VACUUM (FULL)` writes a table anew into another file. If the server, or the process that rewrites, is killed
before the transaction ends, the new file stays: no table refers to it, PostgreSQL neither uses nor deletes
it, and it holds whoever was enrolled at that time. Only a superuser, or whoever was granted ``pg_ls_dir`` and
``pg_stat_file``, sees the files of a database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facekd.gallery.postgres.connecting import SCHEMA

if TYPE_CHECKING:
    from facekd.gallery.postgres.gallery_server import GalleryServer

_MAY_LOOK = (
    "SELECT has_function_privilege('pg_ls_dir(text)', 'execute')"
    " AND has_function_privilege('pg_stat_file(text, boolean)', 'execute')"
)
#: the folder of the gallery's tables, and their tablespace
_PLACE = (
    "SELECT regexp_replace(pg_relation_filepath(oid), '/[0-9]+$', ''), reltablespace::bigint"
    f" FROM pg_class WHERE oid = '{SCHEMA}.templates'::regclass"
)
#: a table that is being made or rewritten is locked until its file belongs to it, or is gone
_IS_REWRITTEN = (
    "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
    " WHERE datname = current_database() AND mode = 'AccessExclusiveLock' AND pid != pg_backend_pid()"
)
#: by number of the file; what a dropped table leaves until the next checkpoint is empty
_LEFT = (
    "SELECT number, sum(size)::bigint FROM (SELECT split_part(file, '.', 1)::bigint AS number,"
    " (pg_stat_file(? || '/' || file, true)).size AS size FROM unnest(?::text[]) AS file) AS files"
    " WHERE size > 0 AND pg_filenode_relation(?::bigint::oid, number::oid) IS NULL"
    " GROUP BY number ORDER BY number"
)


@dataclass(frozen=True)
class LeftBehind:
    """A file of the server, relative to its data folder, and its ``size`` in bytes; from 1 GiB on there are
    more of its name, with a number after a dot."""

    path: str
    size: int


def look(server: GalleryServer) -> Iterator[LeftBehind]:
    """The files beside the gallery's tables that belong to no table.

    Yields nothing if the user may not look, or while a table of the database is being rewritten.
    """
    if server.rows(_MAY_LOOK) != [(True,)]:
        return
    ((folder, tablespace),) = server.rows(_PLACE)
    files = [
        file for (file,) in server.rows(
            "SELECT file FROM pg_ls_dir(?) AS file WHERE file ~ '^[0-9]+([.][0-9]+){0,1}$'", folder
        )
    ]  # fmt: skip
    if server.rows(_IS_REWRITTEN) != [(0,)]:
        return
    for number, size in server.rows(_LEFT, folder, files, tablespace):
        yield LeftBehind(f"{folder}/{number}", size)
