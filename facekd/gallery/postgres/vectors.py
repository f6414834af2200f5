"""pgvector as the search index of a gallery, in the database of the gallery itself.

It is never stale, because triggers record every change in its transaction, whatever program makes it
(`vectors.sql`). A person whose direction was not recomputed with a change is a candidate of every search
until it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput, UsageError
from facekd.gallery.candidates import IndexStamp
from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres import connecting, directions, migrating
from facekd.gallery.postgres.connection import ServerConnection
from facekd.gallery.postgres.gallery_server import GalleryServer
from facekd.gallery.postgres.index_owner import (
    acting_as_owner,
    check_space,
    claim_building,
    nobody_writing,
)

Floats = NDArray[np.float32]

#: the most candidates that pgvector's graph can return; for more, all directions are compared
_MOST = 1000
#: the graph's ef_search, at least
VIEW = 400
#: the graph's m: the links of a node
LINKS = 32
#: the graph's ef_construction
_TRIED = 64
#: memory to build the graph, given the bytes for each person; PostgreSQL allocates all of it at once
_BUILD_MEMORY = """
SELECT set_config('maintenance_work_mem', bytes / 1024 || 'kB', false)
FROM greatest(
    least(pg_size_bytes('1GB'), pg_size_bytes('16MB') + ? * (SELECT count(*) FROM vectors)),
    pg_size_bytes(current_setting('maintenance_work_mem'))) AS bytes
"""
#: bytes of the graph in memory for each value of a direction, and for each link
_VALUE_BYTES, _LINK_BYTES = 4, 100
#: the advisory lock that a builder holds: "fkdV"
_LOCK = 0x666B6456
_NO_EXTENSION = "42501", "0A000", "58P01"

_STAMP = """
SELECT obj_description(vectors.oid, 'pg_class'), word,
    (SELECT count(*) FROM facekd.vectors) + (SELECT count(*) FROM facekd.vectors_due)
FROM state, pg_class AS vectors JOIN pg_index ON indrelid = vectors.oid
    JOIN pg_class AS graph ON graph.oid = indexrelid AND graph.relname = 'vectors_by_direction'
WHERE vectors.oid = to_regclass('facekd.vectors') AND indisvalid
    AND 2 = (SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass('facekd.templates')
        AND tgname IN ('note_due', 'note_due_changed') AND tgenabled = 'O')
"""
_NEAREST = """
SELECT 0 AS n, uid, 0 AS distance FROM vectors_due JOIN people ON id = person
UNION ALL
SELECT n, uid, distance FROM
    (SELECT n, probe::{vector}.vector AS probe
        FROM unnest(?::text[]) WITH ORDINALITY AS texts (probe, n) OFFSET 0) AS asked
    CROSS JOIN LATERAL
    (SELECT person, direction OPERATOR({vector}.<#>) asked.probe AS distance FROM vectors
        ORDER BY direction OPERATOR({vector}.<#>) asked.probe LIMIT ?) AS nearest
    JOIN people ON id = person
ORDER BY n, distance
"""


class PgVectorIndex:
    """A `CandidateIndex` in the gallery's database; ``server`` is the gallery, open at least for reading.

    `build`, `put` and `remove` need the rights of the gallery's owner and use a connection of their own.
    `put` and `remove` are for completeness: every writer to the gallery does both in its transaction.
    """

    def __init__(self, server: GalleryServer) -> None:
        self._server = server
        #: the graph's ef_search, at least: a higher value raises recall and takes more time
        self.view = VIEW
        #: the graph's m when it is built: the same
        self.links = LINKS
        self._counted: IndexStamp | None = None
        self._schema: str | None = None

    def stamp(self) -> IndexStamp | None:
        """As `CandidateIndex.stamp`, with the gallery's current state. People are counted again when that has
        changed."""
        with self._server.reading():
            rows = self._server.rows("SELECT word, to_regclass('facekd.vectors_due') IS NOT NULL FROM state")
            if len(rows) != 1 or not rows[0][1]:
                return None
            if self._counted is None or self._counted.state != rows[0][0]:
                counted = self._server.rows(_STAMP)
                self._counted = IndexStamp(str(counted[0][0]), *counted[0][1:]) if counted else None
            return self._counted

    def candidates(self, embeddings: Floats, count: int) -> list[list[str]]:
        """As `CandidateIndex.candidates`; also everybody who is due."""
        with self._server.snapshot():
            found, late = self._nearest(embeddings, count, by_graph=count <= _MOST)
            if any(len(of_one) < count for of_one in found):
                held = len(self._server.rows("SELECT person FROM vectors LIMIT ?", count))
                if any(len(of_one) < held for of_one in found):  # deleted entries took places
                    found, late = self._nearest(embeddings, count, by_graph=False)
        return [of_one + late for of_one in found]

    def build(self, people: Iterable[tuple[Sequence[str], Floats]], stamp: IndexStamp) -> None:
        """As `CandidateIndex.build`. Others may change the gallery in the meantime: the triggers that record
        it exist before the first block is read.

        Raises `UsageError` if the server has no pgvector, or this user may not install it; `InputOutput` for
        anybody but the gallery's owner, and while another program builds it; `Misfit` if the gallery was
        moved to another space.
        """
        with acting_as_owner(self._server.path) as db:
            claim_building(db, self._server.path, _LOCK)
            _check_may_build(db, self._server.path)
            vector = _installed(db, self._server.path)
            self._counted = None
            with nobody_writing(db):
                check_space(db, self._server.path, stamp.space)
                ((dim,),) = db.execute("SELECT dim FROM contract").fetchall()
                _drop(db)
                made = migrating.read_sql("vectors.sql").replace("EXTENSION", vector).replace("DIM", str(dim))
                db.raw.execute(made.encode())
                db.raw.execute(f"COMMENT ON TABLE vectors IS '{stamp.space}'".encode())
                migrating.grant(db.raw)
            for uids, rows in people:
                with nobody_writing(db):
                    directions.fill(db, uids, rows)
            db.execute(_BUILD_MEMORY, (_VALUE_BYTES * dim + _LINK_BYTES * self.links,))
            db.execute("ANALYZE vectors (person)")
            # does not block writers: it waits for open transactions and indexes what they change
            db.execute(
                "CREATE INDEX CONCURRENTLY vectors_by_direction ON vectors"
                f" USING hnsw (direction {vector}.vector_ip_ops)"
                f" WITH (m = {self.links}, ef_construction = {_TRIED})"
            )

    def put(self, ids: Sequence[str], rows: Floats, stamp: IndexStamp) -> None:
        """As `CandidateIndex.put`; ``stamp`` is ignored, because the index always has the gallery's state."""
        with acting_as_owner(self._server.path) as db, nobody_writing(db):
            directions.put(db, dict(zip(ids, rows, strict=True)))

    def remove(self, ids: Sequence[str], stamp: IndexStamp) -> None:
        """As `CandidateIndex.remove`. People who are removed from the records are already gone."""
        with acting_as_owner(self._server.path) as db, nobody_writing(db):
            for table in ("vectors", "vectors_due"):
                db.execute(
                    f"DELETE FROM {table} USING people WHERE id = person AND uid = ANY (?)", (list(ids),)
                )

    def drop(self) -> None:
        """Delete the index with its tables and triggers."""
        self._counted = None
        with acting_as_owner(self._server.path) as db, nobody_writing(db):
            _drop(db)

    def _nearest(self, embeddings: Floats, count: int, by_graph: bool) -> tuple[list[list[str]], list[str]]:
        """The uids of up to ``count`` people for each of ``embeddings``, and of everybody who is due; inside
        a transaction, whose planner settings this changes."""
        scans = {"enable_indexscan": by_graph, "enable_seqscan": not by_graph, "jit": False}
        settings = {name: "on" if value else "off" for name, value in scans.items()}
        settings["hnsw.ef_search"] = str(min(_MOST, max(self.view, count)))
        set_all = ", ".join(["set_config(?, ?, true)"] * len(settings))
        self._server.rows(f"SELECT {set_all}", *(word for pair in settings.items() for word in pair))
        self._schema = self._schema or directions.extension(self._server.db)
        query = _NEAREST.format(vector=self._schema)
        found: list[list[str]] = [[] for _ in range(len(embeddings) + 1)]
        for number, uid, _ in self._server.rows(query, list(map(directions.written, embeddings)), count):
            found[number].append(uid)
        if not by_graph:
            self._server.rows("SELECT set_config('enable_indexscan', 'on', true)")
        return found[1:], found[0]


def _drop(db: ServerConnection) -> None:
    for trigger in ("note_due", "note_due_changed"):
        db.execute(f"DROP TRIGGER IF EXISTS {trigger} ON templates")
    db.execute("DROP FUNCTION IF EXISTS note_due")
    db.execute("DROP TABLE IF EXISTS vectors, vectors_due")


def _check_may_build(db: ServerConnection, address: ServerAddress) -> None:
    if db.execute("SELECT has_schema_privilege(current_schema(), 'CREATE')").fetchall() != [(True,)]:
        raise InputOutput(
            f"{address}: only the gallery's owner may build the search index",
            "As the owner: facekd gallery index --engine pgvector",
        )


def _installed(db: ServerConnection, address: ServerAddress) -> str:
    """The schema of the extension, which is installed first if necessary and allowed."""
    found = directions.extension(db)
    if found is not None:
        return found
    psycopg: Any = connecting.client()
    try:
        db.execute("RESET ROLE")  # this user may have more rights than the gallery's owner
        db.execute("CREATE EXTENSION vector WITH SCHEMA public")
    except psycopg.Error as error:
        if error.sqlstate not in _NO_EXTENSION:
            raise
        install = "CREATE EXTENSION vector SCHEMA public"
        if error.sqlstate == "42501":
            cause, fix = (
                "pgvector is not installed in the database",
                f"Ask a superuser: {install}",
            )
        else:
            cause = "the server has no pgvector"
            fix = (
                f"Install it on the server (Debian: postgresql-NN-pgvector), then in the database: {install}"
            )
        raise UsageError(f"{address}: {cause}", fix) from None
    migrating.act_as_owner(db.raw, "SESSION")
    return "public"
