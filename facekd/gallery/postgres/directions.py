"""Read and write the tables of directions that pgvector searches (`vectors.sql`). The schema of the gallery
must be in the connection's search path."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.postgres.connection import ServerConnection

Floats = NDArray[np.float32]

#: people whose directions are computed at the end of a transaction
_MOST_DUE = 500
_COPY_BEGIN, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def extension(db: ServerConnection) -> str | None:
    """The quoted name of the schema that contains pgvector; `None` if it is not installed in the database."""
    row = db.execute(
        "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
        " WHERE extname = 'vector'"
    ).fetchone()
    return None if row is None else str(row[0])


def due(db: ServerConnection) -> list[str]:
    """The uids of at most `_MOST_DUE` people whose direction is outdated. The others are left to later
    transactions; until then they are candidates of every search."""
    query = "SELECT uid FROM vectors_due JOIN people ON id = person ORDER BY id LIMIT ?"
    return [str(row[0]) for row in db.execute(query, (_MOST_DUE,)).fetchall()]


def put(db: ServerConnection, rows: Mapping[str, Floats]) -> None:
    """Write these directions, by uid, for people who are due; without pgvector they stay due."""
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
    """Write the directions ``rows`` [N, D] of those of ``uids`` who are enrolled and whom nobody has changed
    since the tables were created; in a transaction in which nobody else writes."""
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
    """A direction [D] in pgvector's text form, which it reads without rounding."""
    return "[" + ",".join(map(repr, row.tolist())) + "]"


def unpacked(blob: Any) -> Floats:
    """A direction [D] from pgvector's binary form."""
    return np.frombuffer(bytes(blob), ">f4", offset=4).astype(np.float32)
