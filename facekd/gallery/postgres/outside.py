"""What a gallery in a database records about its search index on another server: where it is, the state up to
which it was updated, and the people whose entry is outdated (`outside_index.sql`).

Every writer updates the index before its change of the gallery is committed. So no removal is acknowledged
while the index still holds the person; if the index cannot be reached, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput
from facekd.gallery.candidates import CandidateIndex, IndexStamp
from facekd.gallery.milvus import idle
from facekd.gallery.milvus.milvus_index import MilvusIndex, milvus_index
from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres import connecting
from facekd.gallery.postgres.connection import ServerConnection

Floats = NDArray[np.float32]

#: people whose directions are computed at the end of a transaction; the others are left to the next
MOST_DUE = 5000
#: the state of an index that is being changed, which no gallery has
_BETWEEN = "changing"
#: appended to the state of the records if people are left to the next transaction
_BEHIND = " but for some"
#: the advisory lock that a writer holds from its change of the index to the end of the transaction: "fkdC"
_LOCK = 0x666B6443
_FIX = "Try again. To do without the index: facekd gallery index --engine exact"


@dataclass
class Change:
    """What a transaction changes in the index at ``place``: the people who are ``due``, and the new
    ``directions`` of those whose templates can be read."""

    place: str
    due: list[str] = field(default_factory=list)
    directions: dict[str, Floats] = field(default_factory=dict)


def place_of(db: ServerConnection) -> str | None:
    """The server of the index, also of an incomplete one; `None` if there is none."""
    if db.execute("SELECT to_regclass('facekd.outside_index')").fetchall() == [(None,)]:
        return None
    row = db.execute("SELECT place FROM facekd.outside_index").fetchone()
    return None if row is None else str(row[0])


def open_at(db: ServerConnection, place: str) -> MilvusIndex:
    """The index of the gallery in this database. A copy of the database, such as one restored from a dump,
    has an index of its own. Raises as `milvus_index` does."""
    ((dim, cluster, database),) = db.execute(
        "SELECT dim, system_identifier, pg_database.oid::bigint"
        " FROM facekd.contract, pg_control_system(), pg_database WHERE datname = current_database()"
    ).fetchall()
    # the name leaves out the space, which is in the stamp: an index of an earlier space is replaced
    return idle.take(milvus_index(place, "gallery", dim, f"{cluster}/{database}"))


def give_back(index: MilvusIndex) -> None:
    """Keep the connection of an index from `open_at` for the next call that opens the same index."""
    idle.give_back(index)


def due(db: ServerConnection) -> list[str]:
    """The uids of at most `MOST_DUE` people whose entry in the index is outdated."""
    query = "SELECT uid FROM outside_due JOIN people USING (uid) ORDER BY uid LIMIT ?"
    return [str(row[0]) for row in db.execute(query, (MOST_DUE,)).fetchall()]


def bring(db: ServerConnection, index: CandidateIndex, change: Change) -> None:
    """Update ``index`` with ``change``, at the end of the transaction that makes it.

    If the index is lost or being built, people who were removed are deleted from it now, and once more after
    it is built. If it has another state than was recorded, they are deleted as well, and the next build does
    the rest. If this raises `InputOutput`, the transaction must not be committed.
    """
    ((word, noted, space),) = db.execute(
        "SELECT word, outside_index.state, space FROM state, outside_index, contract"
    ).fetchall()
    gone = _column(db, "SELECT uid FROM outside_due WHERE NOT EXISTS (SELECT FROM people"
                   " WHERE people.uid = outside_due.uid)")  # fmt: skip
    if word == noted and not gone and not change.due:
        return
    db.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
    try:
        kept = index.stamp()
        if kept is None:
            index.remove(gone, IndexStamp(space, _BETWEEN, 0))
            return
        follows = (kept.space, kept.state) == (space, noted)
        # a new state for each change, so that a change that is rolled back is detected
        state = word if _all_known(db, change.due) else f"{word}{_BEHIND}"
        after = IndexStamp(space, state, 0) if follows else kept
        _change(index, gone, change.directions if follows else {}, kept, after)
    except InputOutput as error:
        raise InputOutput(f"{error.cause}; the gallery was not changed either", _FIX) from error
    db.execute("DELETE FROM outside_due WHERE uid = ANY (?)", (gone + list(change.directions),))
    if follows:
        db.execute("UPDATE outside_index SET state = ?", (after.state,))


@contextmanager
def steady(address: ServerAddress, db: ServerConnection) -> Iterator[None]:
    """Inside, no writer has changed the index without having committed the same change of the gallery. Use it
    outside of transactions."""
    with (
        connecting.explained(address),
        connecting.setting(db.raw, "lock_timeout", connecting.LOCK_SECONDS),
    ):
        db.execute("SELECT pg_advisory_lock_shared(?)", (_LOCK,))
        try:
            yield
        finally:
            if not db.raw.closed:
                db.execute("SELECT pg_advisory_unlock_shared(?)", (_LOCK,))


def _change(
    index: CandidateIndex, gone: Sequence[str], rows: Mapping[str, Floats], kept: IndexStamp,
    after: IndexStamp,
) -> None:  # fmt: skip
    """Delete the people in ``gone`` and write ``rows``. If it is interrupted, the index has no valid
    state."""
    if not rows:
        index.remove(gone, after)
        return
    index.remove(gone, replace(kept, state=_BETWEEN))
    index.put(list(rows), np.stack(list(rows.values())), after)


def _all_known(db: ServerConnection, known: Sequence[str]) -> bool:
    """Whether nobody but the people in ``known`` is due."""
    left = db.execute(
        "SELECT EXISTS (SELECT FROM outside_due JOIN people USING (uid) WHERE uid <> ALL (?::text[]))",
        (list(known),),
    ).fetchall()
    return left == [(False,)]


def _column(db: ServerConnection, query: str) -> list[str]:
    return [str(row[0]) for row in db.execute(query).fetchall()]
