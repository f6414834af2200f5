"""A gallery in a database of a PostgreSQL server, open: the counterpart of `gallery_file`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput, Unreadable
from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres import connecting, directions, erasing, idle, migrating, outside
from facekd.gallery.postgres.connection import ServerConnection

if TYPE_CHECKING:
    import psycopg

    from facekd.gallery.milvus.milvus_index import MilvusIndex

Rows = list[tuple[Any, ...]]

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


def create(path: ServerAddress, fill: Callable[[ServerConnection], object]) -> None:
    """Make sure that there is a gallery in the database at ``path``; ``fill`` fills the tables of a new one,
    in the transaction that creates them."""
    with connecting.explained(path), closing(ServerConnection(lambda: connecting.connect(path))) as db:
        # a user who may only write must not get an error for being unable to create what exists
        if not migrating.schema_of(db.raw):
            migrating.create(db.raw, lambda: fill(db))


def is_there(path: ServerAddress) -> bool:
    """Whether there is a gallery in the database, whatever its schema."""
    with connecting.explained(path), closing(connecting.connect(path)) as db:
        return migrating.schema_of(db) > 0


class GalleryServer:
    """The gallery in the database at ``path``, migrated to the latest schema unless it is ``read_only``, for
    which the right to read is sufficient.

    A writer locks the single row of the table ``state`` until the end of the transaction. So there is one
    writer at a time, and what it has read inside the transaction remains true until it ends. Statements see
    what was committed before each of them (READ COMMITTED), the first one after the wait for that row: no
    transaction is undone because of another one or has to be repeated.
    """

    def __init__(self, path: ServerAddress, read_only: bool = False) -> None:
        self.path = path
        self.pending = False
        self._read_only = read_only
        self._changing = False
        self._removed = False
        self._is_indexed = False
        self._outside: outside.Change | None = None
        self._outside_index: tuple[str, MilvusIndex] | None = None
        self._version, self._seen = 0, ""
        self._schema = 0
        with connecting.explained(path):
            self.db = ServerConnection(self._connect)
            try:
                if not read_only:
                    migrating.migrate(self.db.raw)
                    if erasing.owed(self.db.raw):
                        erasing.erase(self.db.raw, wait=0.01)
            except BaseException:
                self.db.close()
                raise

    def close(self) -> None:
        """Release the connection, which the next call in this process may use for the same gallery."""
        idle.give_back(self.path, self.db.raw)
        if self._outside_index is not None:
            outside.give_back(self._outside_index[1])

    def rows(self, query: str, *values: object, types: tuple[type, ...] = ()) -> Rows:
        """All rows of ``query``. With the ``types`` of its columns, raises `Unreadable` if damage has changed
        the type of a value."""
        with self.reading():
            rows: Rows = self.db.execute(query, values).fetchall()
        if types:
            for row in rows:
                self.check_types(row, types)
        return rows

    def stream(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """As `rows`, without keeping all of them in memory."""
        with self.reading(), self.snapshot():
            yield from self.db.stream(query, values)

    def check_types(self, row: tuple[Any, ...], types: tuple[type, ...]) -> None:
        if not all(map(isinstance, row, types)):
            raise self.damaged("an entry cannot be read")

    def damaged(self, what: str) -> Unreadable:
        """The `Unreadable` to raise if the gallery does not hold what was written."""
        return connecting.damaged(self.path, what)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Failures of reading inside become clear errors."""
        with connecting.explained(self.path):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside is from one moment, whatever others write in the meantime."""
        if self.db.in_transaction:
            yield
            return
        with connecting.explained(self.path), self.db.held(_SNAPSHOT, "ROLLBACK"):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As `GalleryRecords.transaction`."""
        if self._changing or self._read_only:
            raise RuntimeError("transactions do not nest, and a read-only gallery has none")
        with connecting.explained(self.path):
            try:
                with self._writing():
                    self._changing, self._removed = True, False
                    yield
            finally:
                self._changing = False
            if self._removed:
                self.erase()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """A transaction that does not change who is enrolled: it waits for no other."""
        if self._changing or self._read_only:
            raise RuntimeError("transactions do not nest, and a read-only gallery has none")
        with connecting.explained(self.path), self.db.held("BEGIN", "COMMIT"):
            yield

    def must_change(self) -> None:
        """Raise `RuntimeError` outside of a transaction."""
        if not self._changing:
            raise RuntimeError("changes belong inside 'with records.transaction()'")

    def owe_erasure(self) -> None:
        """Have the tables rewritten after this transaction, or by the next writer if this one is killed."""
        if not self._removed:
            self.db.execute("INSERT INTO erasures DEFAULT VALUES")
        self._removed = True

    def expect_erasure(self) -> None:
        """Have the tables rewritten by the next writer if the next transaction fails: what it wrote stays in
        them."""
        with self.noting():
            self.db.execute("INSERT INTO erasures DEFAULT VALUES")

    def erase(self) -> bool:
        """Erase data that was deleted earlier and remains; return whether all of it is gone."""
        with connecting.explained(self.path):
            self.pending = not erasing.erase(self.db.raw, connecting.LOCK_SECONDS)
        return not self.pending

    def rewrite_templates(self, changed: Sequence[tuple[Any, ...]]) -> None:
        """Replace embeddings, given by embedding, checksum and number of each template; in one statement,
        because each statement leaves a dead row of ``state`` that the next one has to skip."""
        self._rewrite(
            "UPDATE templates SET embedding = new.embedding, checksum = new.checksum"
            " FROM unnest(?::bytea[], ?::text[], ?::bigint[]) AS new (embedding, checksum, id)"
            " WHERE templates.id = new.id",
            changed,
        )

    def replace_templates(self, changed: Sequence[tuple[Any, ...]]) -> None:
        """Give templates another embedding: embedding, quality, checksum and number of each. In one
        statement, too."""
        self._rewrite(
            "UPDATE templates SET embedding = new.embedding, quality = new.quality, checksum = new.checksum"
            " FROM unnest(?::bytea[], ?::double precision[], ?::text[], ?::bigint[])"
            " AS new (embedding, quality, checksum, id) WHERE templates.id = new.id",
            changed,
        )

    def change_space(self, space: str) -> None:
        """Have the gallery and all its templates be of another space. In one statement, at the end of which
        the server checks that templates refer to the contract's; it may take longer than others."""
        self.db.execute("SELECT set_config('statement_timeout', '0', true)")
        self.db.execute(
            "WITH changed AS (UPDATE contract SET space = ?) UPDATE templates SET space = ?", (space, space)
        )

    def rewrite_names(self, changed: Sequence[tuple[Any, ...]]) -> None:
        """Replace stored names, given by name, lookup and number of each person; in one statement as well."""
        self._rewrite(
            "UPDATE people SET name = new.name, lookup = new.lookup"
            " FROM unnest(?::text[], ?::text[], ?::bigint[]) AS new (name, lookup, id)"
            " WHERE people.id = new.id",
            changed,
        )

    def version(self) -> int:
        """A number that changes when another program has changed the gallery."""
        if not self._changing:  # inside a transaction, no other program can
            self._notice(self.state())
        return self._version

    @property
    def schema(self) -> int:
        """The schema of the database at present: another program may migrate what is only read here."""
        if self._schema != migrating.latest():
            self._schema = migrating.schema_of(self.db.raw)
        return self._schema

    def schemas(self) -> tuple[int, int]:
        """The schema of the database, and the one to which this facekd migrates it before a change."""
        with self.reading():
            return self.schema, migrating.latest()

    def state(self) -> str:
        """As `GalleryRecords.state`."""
        rows = self.rows("SELECT word FROM state", types=(str,))
        if len(rows) != 1:
            raise self.damaged("its state is missing")
        return str(rows[0][0])

    def unfolded(self) -> Rows:
        """Number and name of people, including all whose name is not folded (`names.fold`)."""
        return self.rows("SELECT id, name FROM people WHERE may_be_unfolded(name)", types=(int, str))

    def size(self) -> int:
        """Size of the tables with their indexes in bytes."""
        return int(
            self.rows(
                "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
                " WHERE relkind = 'r' AND relnamespace = ?::regnamespace",
                connecting.SCHEMA,
            )[0][0]
        )

    def is_indexed(self) -> bool:
        """Whether there is a search index with templates in the clear; inside a transaction."""
        return self._is_indexed or self._outside is not None

    def due(self) -> list[str]:
        """The uids of people whose entry in the search index is outdated, of many only some; inside a
        transaction."""
        found = directions.due(self.db) if self._is_indexed else []
        if self._outside is not None:
            self._outside.due = outside.due(self.db)
            found = sorted({*found, *self._outside.due})
        return found

    def put_directions(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Write these directions [D], by uid, to the search index; to one on another server just before the
        transaction is committed."""
        if self._is_indexed:
            directions.put(self.db, rows)
        if self._outside is not None:
            self._outside.directions = {uid: rows[uid] for uid in self._outside.due if uid in rows}

    def outside_index(self, place: str) -> MilvusIndex:
        """The gallery's index on the server at ``place``, which need not exist. It is closed with the
        gallery."""
        if self._outside_index is None or self._outside_index[0] != place:
            if self._outside_index is not None:
                outside.give_back(self._outside_index[1])
            with self.reading():
                self._outside_index = place, outside.open_at(self.db, place)
        return self._outside_index[1]

    def last_number(self) -> int:
        """The highest number that a person ever had."""
        query = "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM people_id_seq"
        return int(self.rows(query, types=(int,))[0][0])

    def number_after(self, number: int) -> None:
        """Give no new person a number up to ``number``."""
        if self.last_number() < number:
            self.rows("SELECT setval('people_id_seq', ?)", number)

    def _rewrite(self, statement: str, changed: Sequence[tuple[Any, ...]]) -> None:
        """Execute a ``statement`` that takes an array for each column."""
        if changed:
            self.db.execute(statement, [list(column) for column in zip(*changed, strict=True)])

    def _connect(self) -> psycopg.Connection:
        db = idle.take(self.path, connecting.connect)
        try:
            migrating.check_schema(db, self.path)
            mode = "on" if self._read_only else "off"
            db.execute(f"SET default_transaction_read_only = {mode}".encode())
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction in which nobody else writes. Raises `InputOutput` if it is unknown whether it was
        committed."""
        done = False
        try:
            with self.db.held("BEGIN", "COMMIT"):
                self._lock()
                yield
                if self._outside is not None:
                    outside.bring(self.db, self.outside_index(self._outside.place), self._outside)
                word, done = self.state(), True
            self._seen = word
        except connecting.client().OperationalError as error:
            if done and self.db.raw.closed:
                raise InputOutput(
                    f"{self.path}: the connection was lost while a change was being committed, which may be "
                    "made or not",
                    "Check whether it was made ('facekd gallery audit'), and try again.",
                ) from error
            raise

    def _lock(self) -> None:
        """Wait until nobody else writes; from then on, the server does not wait long for an idle writer."""
        for name, seconds in (
            ("lock_timeout", connecting.LOCK_SECONDS),
            ("idle_in_transaction_session_timeout", connecting.IDLE_SECONDS),
        ):
            self.db.execute("SELECT set_config(?, ?, true)", (name, str(round(1000 * seconds))))
        rows = self.db.execute(
            "SELECT word, to_regclass(?) IS NOT NULL FROM state FOR UPDATE",
            (f"{connecting.SCHEMA}.vectors_due",),
        ).fetchall()
        if len(rows) != 1:
            raise self.damaged("its state is missing")
        word, self._is_indexed = rows[0]
        place = outside.place_of(self.db)
        self._outside = None if place is None else outside.Change(place)
        self._notice(word)

    def _notice(self, word: str) -> None:
        """Count a change by another program, if the gallery's state has not been seen here."""
        if word != self._seen:
            self._version, self._seen = self._version + 1, word
