"""Rewrite tables without deleted data.

PostgreSQL keeps a deleted row until VACUUM removes it, and even then its bytes stay in the page until they
are overwritten. `VACUUM (FULL)` rewrites tables and indexes and deletes the old files, but it keeps rows that
another transaction may still see. The table's ``relfrozenxid`` tells whether it did: all transactions before
it have ended.

The graph of pgvector is not rewritten, because that would take as long as building it: its VACUUM overwrites
deleted entries with zeros. The directions from which it was built are stored out of line (TOAST), so that
they can be rewritten without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekd.gallery.postgres.connecting import SCHEMA, client, setting

if TYPE_CHECKING:
    import psycopg

#: the tables with the data that a removal erases
TABLES = ("people", "templates", "removed_people", "removed_photos")
#: the table of the search index (`vectors.sql`)
_VECTORS = "vectors"
#: the reasons why an erasure waits: a lock that was not granted, no room, or a standby
_NOT_NOW = ("55P03", "40P01", "53100", "25006", "57014")


def owed(db: psycopg.Connection) -> int:
    """The last removal after which the tables have not been rewritten; 0 if there is none."""
    return int(_one(db, "SELECT coalesce(max(id), 0) FROM erasures"))


def count(db: psycopg.Connection) -> int:
    """The number of removals after which the tables have not been rewritten."""
    return _one(db, "SELECT count(*) FROM erasures")


def erase(db: psycopg.Connection, wait: float) -> bool:
    """Rewrite the tables for all removals until now; return whether that was done.

    It is not if another program reads or writes them for longer than ``wait`` seconds, or has a transaction
    open that is older than a removal, or if this user may not: before version 17 only the owner may.
    """
    last = owed(db)
    if not last:
        return True
    if _is_seen(db, last):
        return False
    psycopg, before = client(), _files(db)
    try:
        # rewriting a large table takes longer than a query may
        with setting(db, "lock_timeout", wait), setting(db, "statement_timeout", 0):
            db.execute(f"VACUUM (FULL) {', '.join(f'{SCHEMA}.{table}' for table in TABLES)}".encode())
            _erase_vectors(db)
    except psycopg.Error as error:
        if error.sqlstate not in _NOT_NOW:
            raise
        return False
    if before & _files(db):  # without the right to VACUUM, there is only a warning
        return False
    # later ones belong to other programs, which will erase them
    db.execute(
        "WITH rewritten AS (SELECT oid, reltoastrelid FROM pg_class"
        " WHERE relnamespace = %s::regnamespace AND relname = ANY (%s))"
        " DELETE FROM erasures WHERE id <= %s AND NOT EXISTS (SELECT FROM pg_class, rewritten"
        " WHERE pg_class.oid IN (rewritten.oid, rewritten.reltoastrelid)"
        " AND age(relfrozenxid) >= age(xid::xid))",
        (SCHEMA, [*TABLES, _VECTORS], last),
    )
    return not _one(db, "SELECT count(*) FROM erasures WHERE id <= %s", last)


def _erase_vectors(db: psycopg.Connection) -> None:
    """Erase what was deleted from pgvector's search index, and from its table of directions, if there is
    one."""
    table = f"{SCHEMA}.{_VECTORS}"
    columns = _one(
        db,
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND NOT attisdropped"
        " AND attname IN ('direction', 'filler')",
        table,
    )
    if not columns:
        return
    # of a table without the filler the directions may be inside of the rows
    if columns == 1 or db.info.server_version < 160000:
        db.execute(f"VACUUM (FULL) {table}".encode())
        return
    db.execute(f"VACUUM (FREEZE, INDEX_CLEANUP ON, PROCESS_TOAST FALSE) {table}".encode())
    db.execute(f"VACUUM (FULL, PROCESS_MAIN FALSE) {table}".encode())


def _files(db: psycopg.Connection) -> set[int]:
    """The numbers of the tables' files, which change when a table is rewritten."""
    query = "SELECT relfilenode FROM pg_class WHERE relnamespace = %s::regnamespace AND relname = ANY (%s)"
    return {int(row[0]) for row in db.execute(query, (SCHEMA, list(TABLES))).fetchall()}


def _is_seen(db: psycopg.Connection, last: int) -> bool:
    """Whether an open transaction may see what was removed, so that rewriting would be useless."""
    return bool(
        _one(
            db,
            "SELECT count(*) FROM pg_stat_activity, erasures WHERE erasures.id = %s"
            " AND datname = current_database() AND pid != pg_backend_pid()"
            " AND (age(backend_xmin) >= age(xid::xid) OR age(backend_xid) >= age(xid::xid))",
            last,
        )
    )


def _one(db: psycopg.Connection, query: str, *values: object) -> int:
    row = db.execute(query.encode(), values).fetchone()
    return int(row[0]) if row else 0
