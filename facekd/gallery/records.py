"""The records: who is enrolled, with which templates, under which contract. They alone are the truth."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from facekd.errors import Misfit, NotFound, Unreadable
from facekd.gallery import database
from facekd.gallery.names import clean_name

#: how far from 1 the length of a stored embedding may be; float32 rounding stays far below
_LENGTH_TOLERANCE = 1e-3


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Contract:
    """What every template of a gallery was made with. Only ``space`` decides whether embeddings
    can be compared; the rest says where they come from."""

    space: str
    dim: int
    model: str
    detector: str
    aligner: str


@dataclass(frozen=True)
class Template:
    """One enrolled photo: ``embedding`` float32 [D] of unit length, ``photo`` the SHA-256 of its
    file (hexadecimal), ``quality`` in [0, 1], ``enrolled`` a date in UTC."""

    embedding: NDArray[np.float32]
    photo: str
    quality: float
    enrolled: str = field(default_factory=now)


@dataclass(frozen=True)
class Person:
    """An entry of the gallery: how many photos, the first and the last date of enrolment."""

    name: str
    templates: int
    first: str
    last: str


class GalleryRecords:
    """A gallery in an SQLite file.

    ``contract`` is that of the model in use: the file is pinned to it when it is made
    (``create``), and `Misfit` is raised where the file was made in another space, unless that is one of
    the ``compatible`` ones that the model's card names. In another space, and without a contract, the
    gallery can be read and people removed, nothing added.

    Changes are made in ``with records.transaction()``: all or none of them happen, and when the
    block has been left they survive a killed process and a pulled plug. Failures of the file
    raise `InputOutput` or `Unreadable`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        contract: Contract | None = None,
        create: bool = False,
        compatible: Sequence[str] = (),
    ) -> None:
        self.path = Path(path)
        self.pending = False
        self._changing = False
        self._removed = False
        if create:
            database.create_private(self.path)
        with database.explained(self.path):
            self._db = database.connect(self.path)
            try:
                if create and contract is not None and database.is_empty(self._db):
                    self._fill(contract)
                database.check_schema(self._db, self.path)
                database.make_durable(self._db, self.path)
                self.contract = self._read_contract()
                self._fits = contract is not None and contract.space == self.contract.space
                if contract is not None and not self._fits and self.contract.space not in compatible:
                    raise _misfit(self.path, self.contract, contract)
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> GalleryRecords:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and shorten the write-ahead log where nobody else is reading it, so
        that an erasure that was pending is completed by whoever comes last."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA busy_timeout = 0")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes made inside happen together when the block is left, or not at all.

        Where a person was removed the file is then rewritten without them. `pending` says
        afterwards whether somebody who is still reading kept the old bytes in the file.
        """
        if self._changing:
            raise RuntimeError("transactions do not nest")
        with database.explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            self._changing, self._removed = True, False
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                self._changing = False
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            if self._removed:
                self._erase()

    def add(self, name: str, templates: Sequence[Template]) -> int:
        """Add ``templates`` to the person ``name``, who need not exist yet; return how many are
        new. A photo that the person already has is passed over.

        Raises `UsageError` for the name, `Misfit` for an embedding of another length.
        """
        self._must_change()
        if not self._fits:
            raise RuntimeError("a gallery opened without a contract, or in another space, takes no templates")
        if not templates:
            raise ValueError("nobody is enrolled without a template")
        name = clean_name(name)
        self._db.execute("INSERT INTO people (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
        person = self._id_of(name)
        rows = [
            (person, self.contract.space, t.photo, self._pack(t.embedding), float(t.quality), t.enrolled)
            for t in templates
        ]
        added = self._db.executemany(
            "INSERT INTO templates (person, space, photo, embedding, quality, enrolled)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (person, photo) DO NOTHING",
            rows,
        ).rowcount
        self._note("add", person, added)
        return added

    def remove(self, name: str) -> int:
        """Remove a person; return how many templates went with them. Raises `NotFound`."""
        self._must_change()
        person = self._id_of(clean_name(name))
        count = self._db.execute("DELETE FROM templates WHERE person = ?", (person,)).rowcount
        self._db.execute("DELETE FROM people WHERE id = ?", (person,))
        self._note("remove", person, count)
        self._removed = True
        return count

    def people(self) -> list[Person]:
        """Everybody, by name."""
        with database.explained(self.path):
            rows = self._db.execute(
                "SELECT name, count(*), min(enrolled), max(enrolled) FROM people"
                " JOIN templates ON person = people.id GROUP BY people.id ORDER BY name"
            ).fetchall()
        return [Person(*row) for row in rows]

    def person(self, name: str) -> Person:
        """One entry. Raises `NotFound`."""
        with database.explained(self.path):
            key = self._id_of(clean_name(name))
            row = self._db.execute(
                "SELECT count(*), min(enrolled), max(enrolled) FROM templates WHERE person = ?", (key,)
            ).fetchone()
        return Person(clean_name(name), *row)

    def templates(self, name: str) -> list[Template]:
        """What is enrolled of a person, in the order of enrolment. Raises `NotFound`, and
        `Unreadable` where a stored embedding is not what was written."""
        with database.explained(self.path):
            person = self._id_of(clean_name(name))
            rows = self._db.execute(
                "SELECT embedding, photo, quality, enrolled FROM templates WHERE person = ? ORDER BY id",
                (person,),
            ).fetchall()
        return [Template(self._unpack(blob), *rest) for blob, *rest in rows]

    def holders(self, photo: str) -> list[str]:
        """Under whose names the photo with this SHA-256 is enrolled."""
        with database.explained(self.path):
            rows = self._db.execute(
                "SELECT name FROM people JOIN templates ON person = people.id WHERE photo = ? ORDER BY name",
                (photo,),
            ).fetchall()
        return [row[0] for row in rows]

    def _fill(self, contract: Contract) -> None:
        """Make an empty file a gallery. Two programs may try at once: the second finds it made."""
        # a row of 512 floats would fill hardly more than half of SQLite's default page
        self._db.execute("PRAGMA page_size = 8192")
        database.make_durable(self._db, self.path)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if database.is_empty(self._db):
                database.create_schema(self._db)
                self._db.execute(
                    "INSERT INTO contract (space, dim, model, detector, aligner, created)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (*astuple(contract), now()),
                )
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _read_contract(self) -> Contract:
        rows = self._db.execute("SELECT space, dim, model, detector, aligner FROM contract").fetchall()
        if len(rows) != 1:
            raise Unreadable(f"{self.path}: the gallery is damaged (its contract is missing)")
        return Contract(*rows[0])

    def _erase(self) -> None:
        """Rewrite the file without what was deleted, and empty the write-ahead log.

        A reader on an older state keeps SQLite from overwriting it: then the bytes leave the file
        with the first checkpoint after the reader has gone.
        """
        self.pending = False
        try:
            self._db.execute("VACUUM")
        except sqlite3.OperationalError as error:
            if not database.is_busy(error):
                raise
            self.pending = True
        blocked = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        self.pending = self.pending or bool(blocked)

    def _note(self, action: str, person: int, templates: int) -> None:
        self._db.execute(
            "INSERT INTO audit (date, action, person, templates) VALUES (?, ?, ?, ?)",
            (now(), action, person, templates),
        )

    def _must_change(self) -> None:
        if not self._changing:
            raise RuntimeError("changes belong inside 'with records.transaction()'")

    def _id_of(self, name: str) -> int:
        row = self._db.execute("SELECT id FROM people WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise NotFound(
                f"nobody named '{name}' is in {self.path}", "'facekd gallery list' shows who is enrolled."
            )
        return int(row[0])

    def _pack(self, embedding: NDArray[np.float32]) -> bytes:
        if embedding.shape != (self.contract.dim,):
            raise Misfit(
                f"{self.path} holds embeddings of {self.contract.dim}, this one is {list(embedding.shape)}"
            )
        if not _is_unit(embedding):
            raise ValueError("an embedding is enrolled at unit length")
        return embedding.astype("<f4").tobytes()

    def _unpack(self, blob: bytes) -> NDArray[np.float32]:
        if len(blob) == 4 * self.contract.dim:
            embedding = np.frombuffer(blob, "<f4").astype(np.float32)
            if _is_unit(embedding):
                return embedding
        cause = f"{self.path}: the gallery is damaged (a template cannot be read)"
        raise Unreadable(cause, database.RESTORE)


def _is_unit(embedding: NDArray[np.float32]) -> bool:
    # NaN compares false
    return bool(abs(float(np.linalg.norm(embedding)) - 1) <= _LENGTH_TOLERANCE)


def _misfit(path: Path, gallery: Contract, model: Contract) -> Misfit:
    return Misfit(
        f"{path} was made with {gallery.model} (space {gallery.space[:12]}), "
        f"which does not compare with {model.model} (space {model.space[:12]})",
        f"Use --model with {gallery.model}, or another --gallery and enroll the people again.",
    )
