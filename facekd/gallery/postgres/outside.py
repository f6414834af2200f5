"""What a gallery in a database knows of its search index on a server outside: where it is, what state it was
last brought up to, and whom it does not hold as they are now (`outside_index.sql`).

Whoever changes the gallery brings the index up to date before the change is committed. So nobody's removal is
acknowledged before the index has forgotten them; where the index cannot be asked, nothing is changed.
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

#: people whose directions are computed at the end of one transaction; others wait for the next
MOST_DUE = 5000
#: of an index that is being changed: no gallery has this state
_BETWEEN = "changing"
#: after the state of the records, where people are left for the next transaction
_BEHIND = " but for some"
#: of the lock that a writer has from changing the index until the end of the transaction: "fkdC"
_LOCK = 0x666B6443
_FIX = "Try again. To do without the index: facekd gallery index --engine exact"


@dataclass
class Change:
    """A transaction that changes what the index at ``place`` holds: the ``due`` people, of whom it gets the
    ``directions`` that could be computed."""

    place: str
    due: list[str] = field(default_factory=list)
    directions: dict[str, Floats] = field(default_factory=dict)


def place_of(db: ServerConnection) -> str | None:
    """Where the index is, or one was begun; `None` where there is none."""
    if db.execute("SELECT to_regclass('facekd.outside_index')").fetchall() == [(None,)]:
        return None
    row = db.execute("SELECT place FROM facekd.outside_index").fetchone()
    return None if row is None else str(row[0])


def open_at(db: ServerConnection, place: str) -> MilvusIndex:
    """The index of the gallery in this database: another database, as one restored from a dump, has its own.
    Raises as `milvus_index`."""
    ((dim, cluster, database),) = db.execute(
        "SELECT dim, system_identifier, pg_database.oid::bigint"
        " FROM facekd.contract, pg_control_system(), pg_database WHERE datname = current_database()"
    ).fetchall()
    # the name does not tell the space, which the stamp does: that of an earlier space is replaced
    return idle.take(milvus_index(place, "gallery", dim, f"{cluster}/{database}"))


def give_back(index: MilvusIndex) -> None:
    """Keep what `open_at` opened, for the next call that opens the same index."""
    idle.give_back(index)


def due(db: ServerConnection) -> list[str]:
    """The uids of people whom the index does not hold as they are now, `MOST_DUE` of them at the most."""
    query = "SELECT uid FROM outside_due JOIN people USING (uid) ORDER BY uid LIMIT ?"
    return [str(row[0]) for row in db.execute(query, (MOST_DUE,)).fetchall()]


def bring(db: ServerConnection, index: CandidateIndex, change: Change) -> None:
    """Have ``index`` hold everybody as they are after ``change``, at the end of its transaction.

    One that is lost, or being built, forgets whoever was removed, and does so again when it is built; one of
    another state than was noted does so too, and is left for the next build. Raises `InputOutput`, after
    which the transaction must not be committed.
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
        # another one after each change, so that one which is undone is noticed
        state = word if _all_known(db, change.due) else f"{word}{_BEHIND}"
        after = IndexStamp(space, state, 0) if follows else kept
        _change(index, gone, change.directions if follows else {}, kept, after)
    except InputOutput as error:
        raise InputOutput(f"{error.cause}; so nothing was changed in the gallery either", _FIX) from error
    db.execute("DELETE FROM outside_due WHERE uid = ANY (?)", (gone + list(change.directions),))
    if follows:
        db.execute("UPDATE outside_index SET state = ?", (after.state,))


@contextmanager
def steady(address: ServerAddress, db: ServerConnection) -> Iterator[None]:
    """Inside, no writer is between a change of the index and the same change of the gallery, which nobody
    else sees as one. Outside of transactions."""
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
    """An interruption leaves an index of no state."""
    if not rows:
        index.remove(gone, after)
        return
    index.remove(gone, replace(kept, state=_BETWEEN))
    index.put(list(rows), np.stack(list(rows.values())), after)


def _all_known(db: ServerConnection, known: Sequence[str]) -> bool:
    """Whether nobody else than ``known`` people is due."""
    left = db.execute(
        "SELECT EXISTS (SELECT FROM outside_due JOIN people USING (uid) WHERE uid <> ALL (?::text[]))",
        (list(known),),
    ).fetchall()
    return left == [(False,)]


def _column(db: ServerConnection, query: str) -> list[str]:
    return [str(row[0]) for row in db.execute(query).fetchall()]
