"""The records: who is enrolled, with which templates, under which contract. They alone are the truth."""

from __future__ import annotations

import os
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from facekd.errors import Misfit, NotFound, UsageError
from facekd.gallery import creation, database, tombstones
from facekd.gallery.migrations import CHECKSUMS_SINCE, schema_of
from facekd.gallery.names import clean_name, fold, shown
from facekd.gallery.reading import Reader, finish_log
from facekd.gallery.template import Template, checksum, is_unit, now, pack, unpack


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
    gallery can be read and people removed, nothing added. A gallery of an older schema is migrated when
    it is opened, except to be read only (``read_only``), which needs no write access.

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
        read_only: bool = False,
    ) -> None:
        self.path = Path(path)
        self.pending = False
        self._changing = False
        self._removed = False
        self._reader: Reader | None = None
        self._unfolded: dict[str, list[tuple[int, str]]] | None = None
        if create and contract is not None:
            creation.create(self.path, lambda db: _fill(db, contract))
        with database.explained(self.path):
            if read_only:
                self._reader = Reader(self.path)
                self._db = self._reader.db
            else:
                self._db = database.connect(self.path)
            try:
                database.check_schema(self._db, self.path)
                if not read_only:
                    database.make_durable(self._db, self.path)
                    database.migrate(self._db)
                    self._finish_erasure()
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
        if self._reader is not None:
            self._reader.close()
        else:
            finish_log(self._db)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes made inside happen together when the block is left, or not at all.

        Where a person was removed the file is then rewritten without them. `pending` says
        afterwards whether somebody who is still reading kept the old bytes in the file.
        """
        if self._changing or self._reader is not None:
            raise RuntimeError("transactions do not nest, and a gallery opened to be read has none")
        with database.explained(self.path):
            try:
                with database.write_transaction(self._db):
                    self._changing, self._removed = True, False
                    yield
            finally:
                self._changing = False
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
        found = self._find(name)
        person = found[0] if found else self._new_person(clean_name(name))
        added = self._db.executemany(
            "INSERT INTO templates (person, space, photo, embedding, quality, enrolled, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (person, photo) DO NOTHING",
            [self._row(person, template) for template in templates],
        ).rowcount
        self._note("add", person, added)
        return added

    def remove(self, name: str) -> int:
        """Remove a person; return how many templates went with them. Raises `NotFound`."""
        self._must_change()
        person, _ = self._found(name)
        tombstones.bury(self._db, person)
        count = self._delete(person)
        self._note("remove", person, count)
        return count

    def people(self) -> list[Person]:
        """Everybody, by name."""
        rows = self._rows(
            "SELECT name, count(*), min(enrolled), max(enrolled) FROM people"
            " JOIN templates ON person = people.id GROUP BY people.id ORDER BY name"
        )
        return [Person(*row) for row in self._typed(rows, str, int, str, str)]

    def person(self, name: str) -> Person:
        """One entry. Raises `NotFound`."""
        key, stored = self._found(name)
        rows = self._rows(
            "SELECT count(*), coalesce(min(enrolled), ''), coalesce(max(enrolled), '') FROM templates"
            " WHERE person = ?",
            key,
        )
        return Person(stored, *self._typed(rows, int, str, str)[0])

    def name_of(self, name: str) -> str:
        """How the person ``name`` is or would be written in the gallery. Raises `UsageError` where nobody
        has such a name and nobody can."""
        found = self._find(name)
        return found[1] if found else clean_name(name)

    def templates(self, name: str) -> list[Template]:
        """What is enrolled of a person, in the order of enrolment. Raises `NotFound`, and
        `Unreadable` where a stored template is not what was written."""
        key, stored = self._found(name)
        rows = self._rows(
            f"SELECT embedding, photo, quality, enrolled, {self._checksum_column()} FROM templates"
            " WHERE person = ? ORDER BY id",
            key,
        )
        if not rows:  # nobody is enrolled without one
            self._found(name)  # somebody who was removed just now is not there
            raise database.damaged(self.path, f"'{shown(stored)}' has no template")
        return [self._template(stored, *row) for row in rows]

    def holders(self, photo: str) -> list[str]:
        """Under whose names the photo with this SHA-256 is enrolled."""
        rows = self._rows(
            "SELECT name FROM people JOIN templates ON person = people.id WHERE photo = ? ORDER BY name",
            photo,
        )
        return [row[0] for row in self._typed(rows, str)]

    def version(self) -> int:
        """A number that is another one after another program has changed the gallery."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def note_forced(self, name: str, templates: int) -> None:
        """Write into the audit that ``templates`` of a person were taken although the guard of enrollment
        had refused them. Raises `NotFound`."""
        self._must_change()
        self._note("force", self._found(name)[0], templates)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with database.explained(self.path):
            rows = self._db.execute(query, values).fetchall()
        if self._reader is not None:
            self._reader.check_unchanged()
        return rows

    def _typed(self, rows: list[tuple[Any, ...]], *types: type) -> list[tuple[Any, ...]]:
        """``rows``, whose values damage may have turned into anything."""
        for row in rows:
            if not all(map(isinstance, row, types)):
                raise database.damaged(self.path, "an entry cannot be read")
        return rows

    def _read_contract(self) -> Contract:
        rows = self._rows("SELECT space, dim, model, detector, aligner FROM contract")
        if len(rows) != 1:
            raise database.damaged(self.path, "its contract is missing")
        return Contract(*self._typed(rows, str, int, str, str, str)[0])

    def _erase(self) -> None:
        """Rewrite the file without what was deleted, and empty the write-ahead log.

        A reader on an older state keeps SQLite from overwriting it: then the bytes leave the file
        with the first checkpoint after the reader has gone.
        """
        self.pending = False
        owed = self._erasure_owed()
        try:
            self._db.execute("VACUUM")
            # those of other programs that came meanwhile are theirs to do
            self._db.execute("DELETE FROM erasures WHERE id <= ?", (owed,))
        except sqlite3.OperationalError as error:
            if not database.is_busy(error):
                raise
            self.pending = True
        blocked = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        self.pending = self.pending or bool(blocked)

    def _owe_erasure(self) -> None:
        """Have the file rewritten after this transaction; by the next writer, should this one be killed."""
        if not self._removed:
            self._db.execute("INSERT INTO erasures DEFAULT VALUES")
        self._removed = True

    def _erasure_owed(self) -> int:
        """The last removal after which the file was not rewritten; 0 where there is none."""
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM erasures").fetchone()[0])

    def _finish_erasure(self) -> None:
        """Rewrite the file for a removal that was killed before it did, unless somebody else is writing or
        there is no room: then it stays for the next."""
        if not self._erasure_owed():
            return
        self._db.execute("PRAGMA busy_timeout = 0")
        with suppress(sqlite3.OperationalError):
            self._erase()
        self._db.execute(f"PRAGMA busy_timeout = {int(1000 * database.BUSY_SECONDS)}")

    def _delete(self, person: int) -> int:
        """Delete a person; return how many templates went with them."""
        self._unfolded = None
        self._owe_erasure()
        count = self._db.execute("DELETE FROM templates WHERE person = ?", (person,)).rowcount
        self._db.execute("DELETE FROM people WHERE id = ?", (person,))
        return count

    def _note(self, action: str, person: int, templates: int) -> None:
        self._db.execute(
            "INSERT INTO audit (date, action, person, templates) VALUES (?, ?, ?, ?)",
            (now(), action, person, templates),
        )

    def _new_person(self, name: str) -> int:
        number = self._db.execute("INSERT INTO people (name) VALUES (?)", (name,)).lastrowid
        assert number is not None  # of an INSERT
        return number

    def _must_change(self) -> None:
        if not self._changing:
            raise RuntimeError("changes belong inside 'with records.transaction()'")

    def _found(self, name: str) -> tuple[int, str]:
        """A person's number and name. Raises `NotFound`."""
        found = self._find(name)
        if found is None:
            raise NotFound(
                f"nobody named '{shown(name)}' is in {self.path}",
                "'facekd gallery list' shows who is enrolled.",
            )
        return found

    def _find(self, name: str) -> tuple[int, str] | None:
        """The person whose stored name is ``name``, else the one whose name is spelled alike.

        Galleries of version 0.1.0 hold names as they were typed, so two people's may be spelled alike:
        each is found by their exact name. Raises `UsageError` where neither is meant exactly.
        """
        for spelling in dict.fromkeys((name, unicodedata.normalize("NFC", name).strip(), fold(name))):
            with suppress(UnicodeEncodeError):  # a lone surrogate is in nobody's name
                rows = self._rows("SELECT id, name FROM people WHERE name = ?", spelling)
                if rows:
                    return self._typed(rows, int, str)[0][0], spelling
        alike = self._folded().get(fold(name), [])
        if len(alike) > 1:
            spelled = ", ".join(ascii(other) for _, other in alike)
            raise UsageError(f"{len(alike)} people in {self.path} have such a name: {spelled}")
        return alike[0] if alike else None

    def _folded(self) -> dict[str, list[tuple[int, str]]]:
        """The people whose stored name is not folded, by what it is when folded. Only galleries of
        version 0.1.0 have any, and none are added."""
        if self._unfolded is None:
            self._unfolded = {}
            for number, stored in self._typed(self._rows("SELECT id, name FROM people"), int, str):
                if fold(stored) != stored:
                    self._unfolded.setdefault(fold(stored), []).append((number, stored))
        return self._unfolded

    def _row(self, person: int, template: Template) -> tuple[object, ...]:
        """What is stored of a template."""
        space, dim, embedding = self.contract.space, self.contract.dim, template.embedding
        if embedding.shape != (dim,):
            raise Misfit(f"{self.path} holds embeddings of {dim}, this one is {list(embedding.shape)}")
        if not is_unit(embedding):
            raise ValueError("an embedding is enrolled at unit length")
        blob = pack(embedding)
        seal = checksum(space, dim, template.photo, blob)
        return person, space, template.photo, blob, float(template.quality), template.enrolled, seal

    def _checksum_column(self) -> str:
        """A gallery of schema 1 that is only read has none."""
        return "checksum" if schema_of(self._db) >= CHECKSUMS_SINCE else "NULL"

    def _template(
        self, name: str, blob: bytes, photo: str, quality: float, enrolled: str, seal: str | None
    ) -> Template:
        """A template of ``name`` from what is stored, if that is still what was written."""
        space, dim = self.contract.space, self.contract.dim
        embedding = unpack(blob, dim)
        whole = isinstance(photo, str) and isinstance(quality, float) and isinstance(enrolled, str)
        if embedding is None or not whole or (seal is not None and seal != checksum(space, dim, photo, blob)):
            raise database.damaged(self.path, f"a template of '{shown(name)}' cannot be read")
        return Template(embedding, photo, quality, enrolled)


def _fill(db: sqlite3.Connection, contract: Contract) -> None:
    database.create_schema(db)
    db.execute(
        "INSERT INTO contract (space, dim, model, detector, aligner, created) VALUES (?, ?, ?, ?, ?, ?)",
        (*astuple(contract), now()),
    )


def _misfit(path: Path, gallery: Contract, model: Contract) -> Misfit:
    return Misfit(
        f"{path} was made with {gallery.model} (space {gallery.space[:12]}), "
        f"which does not compare with {model.model} (space {model.space[:12]})",
        f"Use --model with {gallery.model}, or another --gallery and enroll the people again.",
    )
