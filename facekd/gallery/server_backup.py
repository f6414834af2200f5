"""Copy a gallery from a database into a file: one snapshot, row by row, each row as it is stored."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from facekd.errors import InputOutput
from facekd.gallery import creation, database
from facekd.gallery.engine import Row
from facekd.gallery.entries import Contract
from facekd.gallery.gallery_file import GalleryFile
from facekd.gallery.migrations import NAMES_SINCE, READS_SINCE, SERVER_ENCRYPTION_SINCE
from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres.gallery_server import GalleryServer
from facekd.gallery.template_rows import Owner, TemplateRows

#: rows that are written at once
_ROWS = 1000


@dataclass(frozen=True)
class _Table:
    """``columns`` of a table, which has been in databases ``since`` a schema."""

    name: str
    columns: str
    since: int = 0


_TEMPLATES = _Table("templates", "id, person, space, photo, embedding, quality, enrolled, checksum")
#: the tables of which a gallery consists, each after those to which it refers
_TABLES = (
    _Table("contract", "space, dim, model, detector, aligner, created"),
    _Table("encryption", "scheme, salt, key_id, check_value, names", SERVER_ENCRYPTION_SINCE),
    _Table("people", "id, uid, name"),
    _TEMPLATES,
    _Table("removed_people", "uid, date, merged_into"),
    _Table("removed_photos", "seal, person, date"),
    _Table("audit", "id, date, action, person, templates, asked_by"),
    _Table(
        "audit_reads",
        "id, date, action, person, result, reason, model, space, fmr, fpir, asked_by",
        READS_SINCE,
    ),
)


def copy_database(place: ServerAddress, unfinished: Path, copy: Path) -> None:
    """Copy the gallery at ``place`` into the empty file ``unfinished``, called ``copy`` in messages, in the
    latest schema. The right to read is sufficient, and no key is needed.

    Every template is checked against its checksum when it is read, and every row compared once it is
    written. Raises `Unreadable` if a template is damaged.
    """
    sums: dict[_Table, int] = {}
    with closing(GalleryServer(place, read_only=True)) as server, server.snapshot():

        def fill(db: sqlite3.Connection) -> None:
            database.create_schema(db)
            for table in _tables(server.schema):
                sums[table] = _copy_rows(server, table, db)
            # triggers have changed it; what was copied is of the same state
            db.execute("UPDATE state SET word = ?", (server.state(),))

        try:
            creation.fill_empty(unfinished, copy, fill)
        except sqlite3.IntegrityError as error:
            raise server.damaged(str(error)) from error
        last = server.last_number()
    with closing(GalleryFile(unfinished)) as file:
        file.number_after(last)
        for table, wanted in sums.items():
            if _sum_of(file.stream(f"SELECT {table.columns} FROM {table.name}")) != wanted:
                raise InputOutput(f"{copy}: rows of the table {table.name} differ from those in {place}")


def _tables(schema: int) -> Iterator[_Table]:
    for table in _TABLES:
        if table.name == "people" and schema >= NAMES_SINCE:
            yield _Table(table.name, f"{table.columns}, lookup")
        elif table.since <= schema:
            yield table


def _copy_rows(server: GalleryServer, table: _Table, db: sqlite3.Connection) -> int:
    """Copy all rows of ``table``; return their `_sum_of`."""
    if table == _TEMPLATES:
        rows = _intact_templates(server)
    else:
        rows = server.stream(f"SELECT {table.columns} FROM {table.name}")
    places = ", ".join("?" for _ in table.columns.split(","))
    total = 0
    while some := list(islice(rows, _ROWS)):
        db.executemany(f"INSERT INTO {table.name} ({table.columns}) VALUES ({places})", some)
        total += _sum_of(some)
    return total


def _intact_templates(server: GalleryServer) -> Iterator[Row]:
    """The rows of all templates. Raises `Unreadable` if one does not match its checksum."""
    contract = Contract(*server.rows("SELECT space, dim, model, detector, aligner FROM contract")[0])
    stored = TemplateRows(contract, server.schema)
    columns = ", ".join(f"templates.{column}" for column in _TEMPLATES.columns.split(", "))
    for uid, name, *row in server.stream(
        f"SELECT uid, name, {columns} FROM templates LEFT JOIN people ON people.id = person"
        " ORDER BY templates.id"
    ):
        number, person, _, photo, blob, quality, enrolled, seal = row
        if not stored.is_sealed(Owner(uid, name), photo, blob, quality, enrolled, seal):
            raise server.damaged(
                f"template {number} of person {person} does not match its checksum; 'facekd gallery check' "
                "names it"
            )
        yield tuple(row)


def _sum_of(rows: Iterable[Row]) -> int:
    """A number that rows have in common with the same rows in another order, and with no others."""
    return sum(int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest(), "big") for row in rows)
