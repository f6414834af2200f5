"""Idle connections, kept for the next call that opens the same gallery: a service opens it for every request,
and connecting with TLS takes longer than many requests."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres.connecting import client

if TYPE_CHECKING:
    import psycopg

#: connections that a process keeps for each database, and for how long
MOST, SECONDS = 4, 60.0

Connect = Callable[[ServerAddress], "psycopg.Connection"]

#: the connections to each database, with the time of return; a forked process uses none of its parent's
_kept: dict[tuple[str, int], list[tuple[float, psycopg.Connection]]] = {}
_lock = threading.Lock()


def take(
    address: ServerAddress, connect: Callable[[ServerAddress], psycopg.Connection]
) -> psycopg.Connection:
    """A returned connection that still works, otherwise a new one."""
    while True:
        with _lock:
            kept = _kept.get(_key(address))
            found = kept.pop() if kept else None
        if found is None:
            return connect(address)
        since, db = found
        if time.monotonic() - since < SECONDS and _answers(db):
            return db
        db.close()


def give_back(address: ServerAddress, db: psycopg.Connection) -> None:
    """Keep ``db``, unless it is lost, inside a transaction, or there are enough."""
    if db.closed or db.info.transaction_status != client().pq.TransactionStatus.IDLE:
        db.close()
        return
    with _lock:
        kept = _kept.setdefault(_key(address), [])
        kept.append((time.monotonic(), db))
        leaving = kept.pop(0)[1] if len(kept) > MOST else None
    if leaving is not None:
        leaving.close()


def _key(address: ServerAddress) -> tuple[str, int]:
    return str(address), os.getpid()


def _answers(db: psycopg.Connection) -> bool:
    try:
        db.execute("SELECT 1")
    except client().Error:
        return False
    return True
