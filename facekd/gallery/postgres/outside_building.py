"""A gallery's search index on another server: built and dropped by the gallery's owner, and updated by every
writer (`outside`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput
from facekd.gallery.candidates import IndexStamp
from facekd.gallery.postgres import migrating, outside
from facekd.gallery.postgres.connection import ServerConnection
from facekd.gallery.postgres.gallery_server import GalleryServer
from facekd.gallery.postgres.index_owner import (
    acting_as_owner,
    check_space,
    claim_building,
    nobody_writing,
)

Floats = NDArray[np.float32]

#: the advisory lock that a builder holds: "fkdO"
_LOCK = 0x666B644F


class OutsideIndex:
    """A `CandidateIndex` of the gallery ``server`` on a Milvus server at ``place``. ``catch_up`` is called
    after a build: it must run an empty transaction, which updates the index with what was changed during the
    build."""

    def __init__(self, server: GalleryServer, place: str, catch_up: Callable[[], None]) -> None:
        self._server, self._place, self._catch_up = server, place, catch_up
        self._index = server.outside_index(place)

    def stamp(self) -> IndexStamp | None:
        """As `CandidateIndex.stamp`."""
        return self._index.stamp()

    def candidates(self, embeddings: Floats, count: int) -> list[list[str]]:
        """As `CandidateIndex.candidates`."""
        return self._index.candidates(embeddings, count)

    def put(self, ids: Sequence[str], rows: Floats, stamp: IndexStamp) -> None:
        """As `CandidateIndex.put`, although every writer to the gallery does it anyway."""
        self._index.put(ids, rows, stamp)

    def remove(self, ids: Sequence[str], stamp: IndexStamp) -> None:
        """As `CandidateIndex.remove`, although every writer to the gallery does it anyway."""
        self._index.remove(ids, stamp)

    def build(self, people: Iterable[tuple[Sequence[str], Floats]], stamp: IndexStamp) -> None:
        """As `CandidateIndex.build`. Others may change the gallery in the meantime: from before the first
        block is read, the people they change are recorded, and the index is updated with them at the end.

        Raises `InputOutput` for anybody but the gallery's owner, and while another program builds it;
        `Misfit` where the gallery was moved to another space.
        """
        with self._owner() as db:
            claim_building(db, self._server.path, _LOCK)
            self._index.stamp()  # fails if the server does not answer, before writers depend on it
            before = outside.place_of(db)
            if before not in (None, self._place):
                self._server.outside_index(str(before)).drop()
                self._index = self._server.outside_index(self._place)
            with nobody_writing(db):
                check_space(db, self._server.path, stamp.space)
                self._index.drop()  # from now on, writers treat it as incomplete
                _drop_tables(db)
                db.raw.execute(migrating.read_sql("outside_index.sql").encode())
                db.execute("INSERT INTO outside_index VALUES (?, ?)", (self._place, stamp.state))
                migrating.grant(db.raw)
            self._index.build(people, stamp)
            self._catch_up()

    def drop(self) -> None:
        """Delete the index. If the server does not answer, the gallery stops using it all the same."""
        with self._owner() as db, nobody_writing(db):
            _drop_tables(db)
        try:
            self._index.drop()
        except InputOutput as error:
            raise InputOutput(
                f"{error.cause}; the gallery is searched without it now, but it still holds templates",
                f"Ask its administrator to drop the collection {self._index.collection}.",
            ) from error

    @contextmanager
    def _owner(self) -> Iterator[ServerConnection]:
        """A connection of its own that acts as the gallery's owner. Raises `InputOutput` for anybody else."""
        with acting_as_owner(self._server.path) as db:
            allowed = "SELECT has_schema_privilege(current_schema(), 'CREATE') AND NOT pg_is_in_recovery()"
            if db.execute(allowed).fetchall() != [(True,)]:
                raise InputOutput(
                    f"{self._server.path}: only the gallery's owner may build or drop the search index",
                    f"As the owner: facekd gallery index --engine milvus --at {self._place}",
                )
            yield db


def _drop_tables(db: ServerConnection) -> None:
    for trigger, table in (
        ("note_outside_person", "people"),
        ("note_outside", "templates"),
        ("note_outside_changed", "templates"),
    ):
        db.execute(f"DROP TRIGGER IF EXISTS {trigger} ON {table}")
    db.execute("DROP FUNCTION IF EXISTS note_outside")
    db.execute("DROP TABLE IF EXISTS outside_index, outside_due")
