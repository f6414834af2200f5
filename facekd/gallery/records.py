"""The records: who is enrolled, with which templates, under which contract. They alone are the truth."""

from __future__ import annotations

import os
import shlex
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from facekd.errors import Misfit, NotFound, UsageError
from facekd.gallery import audit, creation, database, everybody, search_file, statistics, tombstones
from facekd.gallery.audit import AuditEntry
from facekd.gallery.everybody import Everybody
from facekd.gallery.migrations import CHECKSUMS_SINCE, STATE_SINCE, UIDS_SINCE, latest, schema_of
from facekd.gallery.names import clean_name, fold, shown
from facekd.gallery.photo_ids import EnrolledPhoto, photo_with, short_ids
from facekd.gallery.reading import Reader, finish_log
from facekd.gallery.statistics import Statistics
from facekd.gallery.template import Template, checksum, is_unit, now, pack, unpack
from facekd.version import EARLIER_STUDENTS


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


@dataclass(frozen=True)
class Merged:
    """How many templates of ``other`` went to the person ``name``, and how many that person had already."""

    name: str
    other: str
    moved: int
    present: int


@dataclass(frozen=True)
class TakenIn:
    """How many templates of an archive were ``added``, and how many ``withheld`` since they were removed
    here, as the person was where ``is_removed``; ``is_new`` if the person was not here before."""

    added: int
    withheld: int
    is_removed: bool = False
    is_new: bool = False


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

        What was kept of the templates to search them faster is deleted before that, so that no removal
        is acknowledged while a copy lies about (`search_file`). Where a person was removed the gallery's
        file is then rewritten without them. `pending` says afterwards whether somebody who is still
        reading kept the old bytes in the file.
        """
        if self._changing or self._reader is not None:
            raise RuntimeError("transactions do not nest, and a read-only gallery has none")
        with database.explained(self.path):
            try:
                with database.write_transaction(self._db):
                    self._changing, self._removed = True, False
                    self._check_not_moved()
                    yield
                    search_file.forget(self.path)
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
            raise ValueError("a person needs at least one template")
        found = self._find(name)
        person = found[0] if found else self._new_person(clean_name(name))
        added = self._insert(person, templates)
        self._note("add", person, added)
        return added

    def take_in(self, uid: str, name: str, templates: Sequence[Template], restore: bool) -> TakenIn:
        """Add ``templates`` of the person with ``uid`` from an archive; somebody who is not there yet gets
        ``name``. Nothing is taken of whoever was removed, nor removed photos, unless ``restore``.

        Raises `UsageError` where somebody else has the name, or a photo.
        """
        self._must_change()
        if not self._fits:
            raise RuntimeError("a gallery opened without a contract, or in another space, takes no templates")
        there = tombstones.look_up(self._db, uid)
        if there.removed and not restore:
            return TakenIn(0, len(templates), is_removed=True)
        wanted = [t for t in templates if restore or not tombstones.is_photo_removed(self._db, uid, t.photo)]
        if not wanted:
            return TakenIn(0, len(templates))
        person = self._new_one(name, uid) if there.person is None else there.person
        if there.removed:
            tombstones.restore(self._db, uid)
            self._note("restore", person, 0)
        for template in wanted:
            self._check_holders(person, template.photo)
        added = self._insert(person, wanted)
        if added:
            self._note("import", person, added)
        return TakenIn(added, len(templates) - len(wanted), is_new=there.person is None)

    def learn_removal(self, uid: str, date: str, merged_into: str | None) -> None:
        """Know from an archive that somebody was removed who is not here."""
        self._must_change()
        tombstones.learn(self._db, uid, date, merged_into)

    def learn_photo_removal(self, seal: str, uid: str, date: str) -> None:
        """Know from an archive that a photo of somebody who is here was removed."""
        self._must_change()
        tombstones.learn_photo(self._db, seal, uid, date)

    def remove(self, name: str) -> int:
        """Remove a person; return how many templates went with them. Raises `NotFound`."""
        self._must_change()
        person, _ = self._found(name)
        tombstones.bury(self._db, person)
        count = self._delete(person)
        self._note("remove", person, count)
        return count

    def remove_photo(self, name: str, photo_id: str) -> EnrolledPhoto:
        """Remove one photo of a person, by its id or the beginning of it; return which.

        Raises `NotFound`, and `UsageError` where several ids begin so or it is the person's last.
        """
        self._must_change()
        person, stored = self._found(name)
        photos = {photo.photo: photo for photo in self.photos(stored)}
        digest = photo_with(photo_id, list(photos))
        if len(photos) == 1:
            raise UsageError(
                f"this is the only photo of '{shown(stored)}', and a person needs at least one",
                "Remove the person instead: facekd gallery remove NAME",
            )
        tombstones.bury_photo(self._db, person, digest)
        self._owe_erasure()
        self._db.execute("DELETE FROM templates WHERE person = ? AND photo = ?", (person, digest))
        self._note("remove_photo", person, 1)
        return photos[digest]

    def rename(self, name: str, new: str) -> str:
        """Give a person another name; return how it is written.

        Raises `NotFound`, and `UsageError` for the new name, or where somebody else has it.
        """
        self._must_change()
        person, stored = self._found(name)
        cleaned = clean_name(new)
        other = self._find(cleaned)
        if other is not None and other[0] != person:
            raise UsageError(
                f"'{shown(other[1])}' is enrolled already",
                "If they are the same person: facekd gallery merge "
                + shlex.join((shown(other[1]), shown(stored))),
            )
        if cleaned != stored:
            self._unfolded = None
            self._owe_erasure()
            self._db.execute("UPDATE people SET name = ? WHERE id = ?", (cleaned, person))
            self._note("rename", person, self.person(cleaned).templates)
        return cleaned

    def merge(self, name: str, other: str) -> Merged:
        """Give the photos of ``other``, who then is no longer enrolled, to the person ``name``. A photo that
        both have is kept once. Raises `NotFound`, and `UsageError` where both are one person."""
        self._must_change()
        (person, stored), (gone, theirs) = self._found(name), self._found(other)
        if person == gone:
            raise UsageError(f"'{shown(stored)}' and '{shown(other)}' are already the same person")
        tombstones.bury_merged(self._db, gone, person)
        moved = self._db.execute(
            "UPDATE OR IGNORE templates SET person = ? WHERE person = ?", (person, gone)
        ).rowcount
        present = self._delete(gone)
        self._note("merge", person, moved)
        self._note("merged", gone, moved + present)
        return Merged(stored, theirs, moved, present)

    def people(self) -> list[Person]:
        """Everybody, by name."""
        rows = self._rows(
            "SELECT name, count(*), min(enrolled), max(enrolled) FROM people"
            " JOIN templates ON person = people.id GROUP BY people.id ORDER BY name"
        )
        return [Person(*row) for row in self._typed(rows, str, int, str, str)]

    def names(self) -> list[str]:
        """Everybody's, rising."""
        return [name for (name,) in self._typed(self._rows("SELECT name FROM people ORDER BY name"), str)]

    def person(self, name: str) -> Person:
        """One entry. Raises `NotFound`."""
        key, stored = self._found(name)
        rows = self._rows(
            "SELECT count(*), coalesce(min(enrolled), ''), coalesce(max(enrolled), '') FROM templates"
            " WHERE person = ?",
            key,
        )
        return Person(stored, *self._typed(rows, int, str, str)[0])

    @property
    def has_uids(self) -> bool:
        """Whether people have uids: a gallery of an older schema that is only read has none."""
        return schema_of(self._db) >= UIDS_SINCE

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever others write meanwhile."""
        with database.explained(self.path):
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def uid_of(self, name: str) -> str:
        """The random number by which archives know a person. Raises `NotFound`."""
        return tombstones.uid_of(self._db, self._found(name)[0])

    def removals(self) -> Iterator[tuple[str, str, str | None]]:
        """Whoever was removed: uid, date, and the uid of the person that they were merged into."""
        yield from self._stream("SELECT uid, date, merged_into FROM removed_people ORDER BY uid")

    def photo_removals(self) -> Iterator[tuple[str, str, str]]:
        """Photos that were removed from people who are here: seal, the person's uid, date."""
        yield from self._stream("SELECT seal, person, date FROM removed_photos ORDER BY seal")

    def number_of(self, name: str) -> int:
        """The number by which the audit knows a person. Raises `NotFound`."""
        return self._found(name)[0]

    def photos(self, name: str) -> list[EnrolledPhoto]:
        """What is known of a person's photos, in the order of enrolment, whether or not their embeddings
        can be read. Raises `NotFound`."""
        key, _ = self._found(name)
        rows = self._typed(
            self._rows("SELECT photo, quality, enrolled FROM templates WHERE person = ? ORDER BY id", key),
            str, float, str,
        )  # fmt: skip
        ids = short_ids([photo for photo, _, _ in rows])
        return [EnrolledPhoto(id, *row) for id, row in zip(ids, rows, strict=True)]

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

    def everybody(self) -> Everybody:
        """All people and all templates, of one moment. Raises `Unreadable` where a stored template is not
        what was written."""
        with database.explained(self.path):
            found = everybody.read(
                self._db, self.path, self.contract.space, self.contract.dim, self._checksum_column()
            )
        if self._reader is not None:
            self._reader.check_unchanged()
        return found

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

    def schema(self) -> tuple[int, int]:
        """The schema of the file, and the one that this facekd leads it to when it changes it."""
        with database.explained(self.path):
            return schema_of(self._db), latest()

    def state(self) -> str | None:
        """A word that is another one after every change of who is enrolled; `None` for a gallery of an
        older schema that is only read."""
        if schema_of(self._db) < STATE_SINCE:
            return None
        rows = self._rows("SELECT word FROM state")
        if len(rows) != 1:
            raise database.damaged(self.path, "its state is missing")
        return str(self._typed(rows, str)[0][0])

    def audit_entries(self, since: str = "") -> Iterator[AuditEntry]:
        """What was done from a moment on (as `audit.moment` writes it), the oldest first."""
        query = "SELECT date, action, person, templates FROM audit WHERE date >= ? ORDER BY id"
        for row in self._stream(query, since):
            yield AuditEntry(*self._typed([row], str, str, int, int)[0])

    def statistics(self) -> Statistics:
        """How large the gallery is, and of what."""
        with database.explained(self.path):
            found = statistics.measure(self._db, self.path, self.has_uids)
        if self._reader is not None:
            self._reader.check_unchanged()
        return found

    def prune_audit(self, before: str) -> int:
        """Delete what the audit holds from before a moment; return how many entries. That is audited, too."""
        self._must_change()
        return audit.prune(self._db, before)

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

    def _stream(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """As `_rows`, without holding all of them."""
        with database.explained(self.path):
            yield from self._db.execute(query, values)
        if self._reader is not None:
            self._reader.check_unchanged()

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
        audit.note(self._db, action, person, templates)

    def _new_person(self, name: str, uid: str = "") -> int:
        """Add a person; without ``uid`` the database makes one."""
        number = self._db.execute("INSERT INTO people (name, uid) VALUES (?, ?)", (name, uid)).lastrowid
        assert number is not None  # of an INSERT
        return number

    def _new_one(self, name: str, uid: str) -> int:
        """Add a person whose name nobody may have. Raises `UsageError` where somebody has it."""
        other = self._find(name)
        if other is not None:
            raise UsageError(
                f"another person named '{shown(other[1])}' is enrolled already",
                "Rename the one in the gallery: facekd gallery rename OLD NEW",
            )
        return self._new_person(name, uid)

    def _insert(self, person: int, templates: Sequence[Template]) -> int:
        tombstones.restore_photos(self._db, person, [template.photo for template in templates])
        return self._db.executemany(
            "INSERT INTO templates (person, space, photo, embedding, quality, enrolled, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (person, photo) DO NOTHING",
            [self._row(person, template) for template in templates],
        ).rowcount

    def _check_holders(self, person: int, photo: str) -> None:
        """Raise `UsageError` where the photo is enrolled of somebody else."""
        others = self._rows(
            "SELECT name FROM people JOIN templates ON person = people.id WHERE photo = ? AND person != ?",
            photo,
            person,
        )
        if others:
            raise UsageError(
                f"photo {photo[:12]} belongs to another person in the archive than in the gallery, "
                f"'{shown(others[0][0])}'",
                "Remove it where it does not belong: facekd gallery remove NAME --photo ID",
            )

    def _check_not_moved(self) -> None:
        """Raise `Misfit` where the gallery was led to another space since it was opened."""
        found = self._read_contract()
        if found.space != self.contract.space:
            raise _misfit(self.path, found, self.contract)

    def _must_change(self) -> None:
        if not self._changing:
            raise RuntimeError("changes belong inside 'with records.transaction()'")

    def _found(self, name: str) -> tuple[int, str]:
        """A person's number and name. Raises `NotFound`."""
        found = self._find(name)
        if found is None:
            raise NotFound(
                f"'{shown(name)}' is not enrolled in {self.path}",
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
            raise UsageError(f"{len(alike)} people in {self.path} match this name: {spelled}")
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
            raise Misfit(f"{self.path} holds embeddings of {dim} values, this one is {list(embedding.shape)}")
        if not is_unit(embedding):
            raise ValueError("an embedding must have unit length")
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
    came_with = EARLIER_STUDENTS.get(gallery.model)
    shipped = f", an earlier student of facekd ({came_with})" if came_with else ""
    return Misfit(
        f"{path} was made with {gallery.model} (space {gallery.space[:12]}){shipped}, "
        f"which is incompatible with {model.model} (space {model.space[:12]})",
        f"Use --model with {gallery.model}, or move the gallery to this model: facekd gallery re-embed "
        "--from PHOTOS.",
    )
