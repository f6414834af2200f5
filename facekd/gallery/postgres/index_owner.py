"""What building and dropping a search index require, wherever it is: the rights of the gallery's owner, a
lock against other builders, and transactions in which nobody else writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from facekd.errors import InputOutput
from facekd.gallery.faults import moved_meanwhile
from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres import connecting, migrating
from facekd.gallery.postgres.connection import ServerConnection

#: how long to wait for other writers
_WAIT_SECONDS = 60.0


@contextmanager
def acting_as_owner(address: ServerAddress) -> Iterator[ServerConnection]:
    """A connection of its own that acts as the gallery's owner if that is allowed, without a time limit for
    statements."""
    with (
        connecting.explained(address),
        closing(ServerConnection(lambda: connecting.connect(address))) as db,
        connecting.setting(db.raw, "statement_timeout", 0),
    ):
        migrating.act_as_owner(db.raw, "SESSION")
        yield db


def claim_building(db: ServerConnection, address: ServerAddress, lock: int) -> None:
    """Hold ``lock``, that of builders, until the connection is closed. Raises `InputOutput` if another
    program holds it."""
    if db.execute("SELECT pg_try_advisory_lock(?)", (lock,)).fetchall() != [(True,)]:
        raise InputOutput(
            f"{address}: another program is building the index", "Try again when it has finished."
        )


def check_space(db: ServerConnection, address: ServerAddress, space: str) -> None:
    """Raise `Misfit` if the gallery is no longer of the ``space`` of which its index is to be; inside of
    `nobody_writing`."""
    if db.execute("SELECT space FROM contract").fetchall() != [(space,)]:
        raise moved_meanwhile(address)


@contextmanager
def nobody_writing(db: ServerConnection) -> Iterator[None]:
    """A transaction in which nobody else writes to the gallery."""
    with connecting.setting(db.raw, "lock_timeout", _WAIT_SECONDS), db.held("BEGIN", "COMMIT"):
        db.execute("SELECT word FROM state FOR UPDATE")
        yield
