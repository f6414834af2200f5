"""The directions that pgvector searches, as its tables hold them (`vectors.sql`); all of it by a connection
that has the schema of the gallery in its search path."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.postgres.connection import ServerConnection

Floats = NDArray[np.float32]

#: people whose directions are computed at the end of one transaction
_MOST_DUE = 500
_COPY_BEGIN, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def extension(db: ServerConnection) -> str | None:
    """The schema that pgvector is installed in, quoted; `None` where the database has no pgvector."""
    row = db.execute(
        "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
        " WHERE extname = 'vector'"
    ).fetchone()
    return None if row is None else str(row[0])


def due(db: ServerConnection) -> list[str]:
    """The uids of people whose direction is not known any more, `_MOST_DUE` of them at the most: others wait
    for whoever computes them, and compare with the rest meanwhile."""
    query = "SELECT uid FROM vectors_due JOIN people ON id = person ORDER BY id LIMIT ?"
    return [str(row[0]) for row in db.execute(query, (_MOST_DUE,)).fetchall()]


def put(db: ServerConnection, rows: Mapping[str, Floats]) -> None:
    """Hold these directions, by uid, in place of those that are due; they stay due where pgvector is gone."""
    schema = extension(db)
    if schema is None:
        return
    db.executemany(
        f"INSERT INTO vectors SELECT id, ?::{schema}.vector FROM people WHERE uid = ?"
        " ON CONFLICT (person) DO UPDATE SET direction = excluded.direction",
        [(written(row), uid) for uid, row in rows.items()],
    )
    db.execute("DELETE FROM vectors_due USING people WHERE id = person AND uid = ANY (?)", (list(rows),))


def fill(db: ServerConnection, uids: Sequence[str], rows: Floats) -> None:
    """Hold the directions ``rows`` [N, D] of those of ``uids`` who are enrolled, and whom no writer has
    changed since the tables were made; in a transaction in which nobody else writes."""
    numbers = dict(
        db.execute(
            "SELECT uid, id FROM people WHERE uid = ANY (?)"
            " AND NOT EXISTS (SELECT FROM vectors WHERE person = id)"
            " AND NOT EXISTS (SELECT FROM vectors_due WHERE person = id)",
            (list(uids),),
        ).fetchall()
    )
    packed = np.ascontiguousarray(rows, ">f4")
    head = struct.pack(">ihh", 4 + packed[0].nbytes, rows.shape[1], 0)
    with db.raw.cursor().copy("COPY vectors (person, direction) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(_COPY_BEGIN)
        for uid, row in zip(uids, packed, strict=True):
            if uid in numbers:
                copy.write(struct.pack(">hiq", 2, 8, numbers[uid]) + head + row.tobytes())
        copy.write(_COPY_END)


def written(row: Floats) -> str:
    """A direction [D] as pgvector reads it, to the bit."""
    return "[" + ",".join(map(repr, row.tolist())) + "]"


def unpacked(blob: Any) -> Floats:
    """The direction [D] that pgvector sends as bytes."""
    return np.frombuffer(bytes(blob), ">f4", offset=4).astype(np.float32)
