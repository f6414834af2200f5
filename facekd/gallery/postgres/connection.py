"""A connection that accepts the records' statements, and reconnects if the server was restarted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from facekd.gallery.postgres.connecting import client

if TYPE_CHECKING:
    import psycopg

#: rows that are fetched at a time
_ROWS = 2000


class ServerConnection:
    """Statements are written with a ``?`` for each value, as for SQLite. ``connect`` opens a connection.

    Outside `held` there are only reads: if the connection turns out to be lost, the statement is executed
    again on a new one.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection]) -> None:
        self._connect = connect
        self.raw = connect()
        self._held = False
        self._numbers = itertools.count(1)

    @property
    def in_transaction(self) -> bool:
        return self._held

    def close(self) -> None:
        self.raw.close()

    @contextmanager
    def held(self, begin: str, end: str) -> Iterator[None]:
        """One transaction, begun by the statement ``begin``, and ended by ``end`` unless it fails."""
        self.execute(begin)
        self._held = True
        try:
            yield
            self.execute(end)
        finally:
            self._held = False
            if not self.raw.closed and self.raw.info.transaction_status != self._idle:
                self.raw.execute("ROLLBACK")

    def execute(self, query: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        try:
            return self._execute(query, values)
        except client().OperationalError:
            if self._held or not self.raw.closed:
                raise
        self.raw = self._connect()
        return self._execute(query, values)

    def executemany(self, query: str, values: Iterable[Sequence[Any]]) -> psycopg.Cursor[Any]:
        cursor = self.raw.cursor()
        cursor.executemany(_translated(query), list(values))
        return cursor

    def stream(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows of ``query``, fetched in batches; to be used inside `held`."""
        with self.raw.cursor(name=f"rows_{next(self._numbers)}") as cursor:
            cursor.itersize = _ROWS
            cursor.execute(_translated(query), values or None, binary=True)
            yield from cursor

    def _execute(self, query: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
        return self.raw.execute(_translated(query), values or None, binary=True)

    @property
    def _idle(self) -> Any:
        return client().pq.TransactionStatus.IDLE


def _translated(query: str) -> bytes:
    return query.replace("?", "%s").encode()
