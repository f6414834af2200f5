"""The records: who is enrolled, with which templates, under which contract. They alone are the truth."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from itertools import islice
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from facekd.errors import Misfit, Unreadable, UsageError
from facekd.gallery import audit, encryption, everybody, statistics, tombstones
from facekd.gallery.audit import AuditEntry, ReadEntry
from facekd.gallery.by_name import PeopleByName
from facekd.gallery.encryption import Cipher, Encryption
from facekd.gallery.engine import CONTRACT, Connection, Engine, make_gallery, open_engine, plan_gallery
from facekd.gallery.entries import Contract, Merged, Person, TakenIn
from facekd.gallery.everybody import Everybody, Somebody
from facekd.gallery.keys import KeySource, key_in_use
from facekd.gallery.migrations import ASKERS_SINCE, READS_SINCE, UIDS_SINCE
from facekd.gallery.names import clean_name, shown
from facekd.gallery.photo_ids import EnrolledPhoto, photo_with, short_ids
from facekd.gallery.place import Place, ServerAddress, gallery_place
from facekd.gallery.postgres.gallery_server import GalleryServer
from facekd.gallery.statistics import Statistics
from facekd.gallery.stored_names import StoredNames
from facekd.gallery.template import Template, now
from facekd.gallery.template_rows import Owner, TemplateRows
from facekd.runtime import fuse
from facekd.version import EARLIER_STUDENTS

Floats = NDArray[np.float32]

#: people whose directions are read at once
_DIRECTIONS = 1000


class GalleryRecords:
    """A gallery in an SQLite file, or, where ``path`` is a URL, in a database of a PostgreSQL server.

    ``contract`` is that of the model in use: the gallery is pinned to it when it is made
    (``create``; with ``late`` when the first change is made, until when `is_made` is false and nothing is on
    the disk), and `Misfit` is raised where the file was made in another space, unless that is one of
    the ``compatible`` ones that the model's card names. In another space, and without a contract, the
    gallery can be read and people removed, nothing added. A gallery of an older schema is migrated when
    it is opened, except to be read only (``read_only``), which needs no write access. Of every change the
    audit notes ``by`` whom it was asked for, where that is known. With ``audit_reads`` whoever compares
    with the gallery has to note that, too (`note_reads`).

    A gallery that is made although there is a ``key`` (else that of `key_in_use`) is encrypted; of one that
    is there the key must be the right one: `NoKey`, `WrongKey`, or `UsageError` where it is not encrypted.
    With ``encrypt_names`` the names of people in one that is made are encrypted, too.

    Changes are made in ``with records.transaction()``: all or none of them happen, and when the
    block has been left they survive a killed process and a pulled plug. Failures of the file
    raise `InputOutput` or `Unreadable`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | ServerAddress,
        contract: Contract | None = None,
        create: bool = False,
        compatible: Sequence[str] = (),
        read_only: bool = False,
        by: str | None = None,
        key: KeySource | None = None,
        audit_reads: bool = False,
        encrypt_names: bool = False,
        late: bool = False,
    ) -> None:
        self.path: Place = gallery_place(path)
        self.audits_reads, self._by = audit_reads, by
        self._key, self._encrypt_names = key_in_use(key), encrypt_names
        self._asked, self._compatible = contract, compatible
        self._is_changing = False
        planned: Engine | None = None
        if create and contract is not None and late:
            planned = plan_gallery(self.path, self._fill)
        elif create and contract is not None:
            make_gallery(self.path, self._fill)
        self.is_made = planned is None
        self._take(planned or open_engine(self.path, read_only))

    def _take(self, file: Engine) -> None:
        """Work with the open gallery ``file`` from now on; close it where it does not fit."""
        self._file = file
        self._by_name = PeopleByName(file, lambda: self._names, self._cipher_now)
        try:
            self.encryption = self._read_encryption()
            self._cipher = encryption.cipher_of(self.encryption, self.path, self._key)
            self.contract = self._read_contract()
            asked = self._asked
            self._fits = asked is not None and asked.space == self.contract.space
            if asked is not None and not self._fits and self.contract.space not in self._compatible:
                raise _misfit(self.path, self.contract, asked)
        except BaseException:
            file.close()
            raise

    def _fill(self, db: Connection) -> None:
        """Make new tables those of a gallery for the model in use."""
        assert self._asked is not None
        if self._key is not None:
            encryption.state(db, encryption.new(self._key, self._encrypt_names)[0])
        db.execute(CONTRACT, (*astuple(self._asked), now()))

    def _make(self) -> None:
        """Make the gallery that was to be made late; one that another program has made meanwhile is taken."""
        make_gallery(self.path, self._fill)
        made = open_engine(self.path, read_only=False)
        self._file.close()
        self.is_made = True
        self._take(made)

    def __enter__(self) -> GalleryRecords:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and shorten the write-ahead log where nobody else is reading it, so
        that an erasure that was pending is completed by whoever comes last."""
        self._file.close()

    @property
    def pending(self) -> bool:
        """Whether somebody who is still reading kept the bytes of what was removed last in the file."""
        return self._file.pending

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes made inside happen together when the block is left, or not at all.

        What was kept of the templates to search them faster is deleted before that, so that no removal
        is acknowledged while a copy lies about (`search_file`). Where a person was removed the gallery's
        file is then rewritten without them. `pending` says afterwards whether somebody who is still
        reading kept the old bytes in the file.
        """
        if not self.is_made:
            self._make()
        with self._file.transaction():
            self._check_not_moved()
            self._cipher_now()
            self._is_changing = True  # nobody else can, until the end
            try:
                yield
                self._index_changed()
            finally:
                self._is_changing = False

    def erase(self) -> bool:
        """Erase the bytes of whoever was removed before, where that was pending; whether all are gone."""
        return self._file.erase()

    def add(self, name: str, templates: Sequence[Template]) -> int:
        """Add ``templates`` to the person ``name``, who need not exist yet; return how many are
        new. A photo that the person already has is passed over.

        Raises `UsageError` for the name, `Misfit` for an embedding of another length.
        """
        self._file.must_change()
        if not self._fits:
            raise RuntimeError("a gallery opened without a contract, or in another space, takes no templates")
        if not templates:
            raise ValueError("a person needs at least one template")
        found = self._by_name.find(name)
        person = found[0] if found else self._new_person(clean_name(name))
        added = self._insert(person, templates)
        self._note("add", person, added)
        return added

    def take_in(self, uid: str, name: str, templates: Sequence[Template], restore: bool) -> TakenIn:
        """Add ``templates`` of the person with ``uid`` from an archive; somebody who is not there yet gets
        ``name``. Nothing is taken of whoever was removed, nor removed photos, unless ``restore``.

        Raises `UsageError` where somebody else has the name, or a photo.
        """
        self._file.must_change()
        if not self._fits:
            raise RuntimeError("a gallery opened without a contract, or in another space, takes no templates")
        there = tombstones.look_up(self._file.db, uid)
        if there.removed and not restore:
            return TakenIn(0, len(templates), is_removed=True)
        wanted = [
            t for t in templates if restore or not tombstones.is_photo_removed(self._file.db, uid, t.photo)
        ]
        if not wanted:
            return TakenIn(0, len(templates))
        person = self._new_one(name, uid) if there.person is None else there.person
        if there.removed:
            tombstones.restore(self._file.db, uid)
            self._note("restore", person, 0)
        for template in wanted:
            self._check_holders(person, template.photo)
        added = self._insert(person, wanted)
        if added:
            self._note("import", person, added)
        return TakenIn(added, len(templates) - len(wanted), is_new=there.person is None)

    def learn_removal(self, uid: str, date: str, merged_into: str | None) -> None:
        """Know from an archive that somebody was removed who is not here."""
        self._file.must_change()
        tombstones.learn(self._file.db, uid, date, merged_into)

    def learn_photo_removal(self, seal: str, uid: str, date: str) -> None:
        """Know from an archive that a photo of somebody who is here was removed."""
        self._file.must_change()
        tombstones.learn_photo(self._file.db, seal, uid, date)

    def remove(self, name: str) -> int:
        """Remove a person; return how many templates went with them. Raises `NotFound`."""
        self._file.must_change()
        person, _ = self._by_name.found(name)
        tombstones.bury(self._file.db, person)
        count = self._delete(person)
        self._note("remove", person, count)
        return count

    def remove_photo(self, name: str, photo_id: str) -> EnrolledPhoto:
        """Remove one photo of a person, by its id or the beginning of it; return which.

        Raises `NotFound`, and `UsageError` where several ids begin so or it is the person's last.
        """
        self._file.must_change()
        person, stored = self._by_name.found(name)
        photos = {photo.photo: photo for photo in self.photos(stored)}
        digest = photo_with(photo_id, list(photos))
        if len(photos) == 1:
            raise UsageError(
                f"this is the only photo of '{shown(stored)}', and a person needs at least one",
                "Remove the person instead: facekd gallery remove NAME",
            )
        tombstones.bury_photo(self._file.db, person, digest)
        self._file.owe_erasure()
        self._file.db.execute("DELETE FROM templates WHERE person = ? AND photo = ?", (person, digest))
        self._note("remove_photo", person, 1)
        return photos[digest]

    def rename(self, name: str, new: str) -> str:
        """Give a person another name; return how it is written.

        Raises `NotFound`, and `UsageError` for the new name, or where somebody else has it.
        """
        self._file.must_change()
        person, stored = self._by_name.found(name)
        cleaned = clean_name(new)
        other = self._by_name.find(cleaned)
        if other is not None and other[0] != person:
            raise UsageError(
                f"'{shown(other[1])}' is enrolled already",
                "If they are the same person: facekd gallery merge "
                + shlex.join((shown(other[1]), shown(stored))),
            )
        if cleaned != stored:
            self._by_name.forget()
            self._file.owe_erasure()
            before = self._owner(person)
            written, lookup = self._names.written(before.uid, cleaned)
            self._seal_again(person, before, Owner(before.uid, written))
            self._file.rewrite_names([(written, lookup, person)])
            self._note("rename", person, self.person(cleaned).templates)
        return cleaned

    def merge(self, name: str, other: str) -> Merged:
        """Give the photos of ``other``, who then is no longer enrolled, to the person ``name``. A photo that
        both have is kept once. Raises `NotFound`, and `UsageError` where both are one person."""
        self._file.must_change()
        (person, stored), (gone, theirs) = self._by_name.found(name), self._by_name.found(other)
        if person == gone:
            raise UsageError(f"'{shown(stored)}' and '{shown(other)}' are already the same person")
        tombstones.bury_merged(self._file.db, gone, person)
        self._seal_again(gone, self._owner(gone), self._owner(person))
        moved = self._file.db.execute(
            "UPDATE templates SET person = ? WHERE person = ?"
            " AND photo NOT IN (SELECT photo FROM templates WHERE person = ?)",
            (person, gone, person),
        ).rowcount
        present = self._delete(gone)
        self._note("merge", person, moved)
        self._note("merged", gone, moved + present)
        return Merged(stored, theirs, moved, present)

    def people(self) -> list[Person]:
        """Everybody, by name."""
        with self._file.snapshot():
            rows = self._file.rows(
                f"SELECT people.id, {self._stored.uid_column}, name, count(*), min(enrolled), max(enrolled)"
                " FROM people JOIN templates ON person = people.id GROUP BY people.id ORDER BY name",
                types=(int, str, str, int, str, str),
            )
        found = [Person(self._name(number, uid, name), *row) for number, uid, name, *row in rows]
        return sorted(found, key=lambda person: person.name)

    def names(self) -> list[str]:
        """Everybody's, rising."""
        with self._file.snapshot():
            self._cipher_now()
            if self._names.cipher is None:
                rows = self._file.rows("SELECT name FROM people ORDER BY name", types=(str,))
                return [row[0] for row in rows]
            rows = self._file.rows("SELECT id, uid, name FROM people", types=(int, str, str))
        return sorted(self._name(*row) for row in rows)

    def person(self, name: str) -> Person:
        """One entry. Raises `NotFound`."""
        key, stored = self._by_name.found(name)
        rows = self._file.rows(
            "SELECT count(*), coalesce(min(enrolled), ''), coalesce(max(enrolled), '') FROM templates"
            " WHERE person = ?",
            key,
            types=(int, str, str),
        )
        return Person(stored, *rows[0])

    @property
    def server(self) -> GalleryServer | None:
        """The open database; `None` where the gallery is a file."""
        return self._file if isinstance(self._file, GalleryServer) else None

    @property
    def has_uids(self) -> bool:
        """Whether people have uids: a gallery of an older schema that is only read has none."""
        return self._file.schema >= UIDS_SINCE

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever others write meanwhile."""
        with self._file.snapshot():
            yield

    def uid_of(self, name: str) -> str:
        """The random number by which archives know a person. Raises `NotFound`."""
        return tombstones.uid_of(self._file.db, self._by_name.found(name)[0])

    def removals(self) -> Iterator[tuple[str, str, str | None]]:
        """Whoever was removed: uid, date, and the uid of the person that they were merged into."""
        yield from self._file.stream("SELECT uid, date, merged_into FROM removed_people ORDER BY uid")

    def photo_removals(self) -> Iterator[tuple[str, str, str]]:
        """Photos that were removed from people who are here: seal, the person's uid, date."""
        yield from self._file.stream("SELECT seal, person, date FROM removed_photos ORDER BY seal")

    def number_of(self, name: str) -> int:
        """The number by which the audit knows a person. Raises `NotFound`."""
        return self._by_name.found(name)[0]

    def photos(self, name: str) -> list[EnrolledPhoto]:
        """What is known of a person's photos, in the order of enrolment, whether or not their embeddings
        can be read. Raises `NotFound`."""
        key, _ = self._by_name.found(name)
        query = "SELECT photo, quality, enrolled FROM templates WHERE person = ? ORDER BY id"
        rows = self._file.rows(query, key, types=(str, float, str))
        ids = short_ids([photo for photo, _, _ in rows])
        return [EnrolledPhoto(id, *row) for id, row in zip(ids, rows, strict=True)]

    def name_of(self, name: str) -> str:
        """How the person ``name`` is or would be written in the gallery. Raises `UsageError` where nobody
        has such a name and nobody can."""
        found = self._by_name.find(name)
        return found[1] if found else clean_name(name)

    def templates(self, name: str) -> list[Template]:
        """What is enrolled of a person, in the order of enrolment. Raises `NotFound`, and
        `Unreadable` where a stored template is not what was written."""
        key, stored = self._by_name.found(name)
        columns = "photo, embedding, quality, enrolled"
        with self._file.snapshot():
            stored_as = self._stored
            rows = self._file.rows(
                f"SELECT {stored_as.uid_column}, name, {columns}, {stored_as.checksum_column} FROM templates"
                " JOIN people ON people.id = person WHERE person = ? ORDER BY templates.id",
                key,
            )
        if not rows:  # nobody is enrolled without one
            self._by_name.found(name)  # somebody who was removed just now is not there
            raise self._file.damaged(f"'{shown(stored)}' has no template")
        found = [stored_as.unpacked(Owner(uid, name), *row) for uid, name, *row in rows]
        if None in found:
            raise self._file.damaged(f"a template of '{shown(stored)}' cannot be read")
        return [template for template in found if template is not None]

    def everybody(self) -> Everybody:
        """All people and all templates, of one moment. Raises `Unreadable` where a stored template is not
        what was written."""
        with self._file.reading(), self._file.snapshot():
            return everybody.read(self._file, self.contract, self._cipher_now())

    def count(self) -> int:
        """How many people are enrolled."""
        return int(self._file.rows("SELECT count(*) FROM people", types=(int,))[0][0])

    def some_uids(self, most: int) -> list[str]:
        """Those of up to so many people, of which any are as likely as others: uids are random."""
        rows = self._file.rows("SELECT uid FROM people ORDER BY uid LIMIT ?", most, types=(str,))
        return [row[0] for row in rows]

    def some(self, uids: Sequence[str]) -> dict[str, Somebody]:
        """Those of the people with ``uids`` who are enrolled. Raises `Unreadable` where a template of theirs
        is not what was written."""
        with self._file.reading(), self._file.snapshot():
            return everybody.read_some(self._file, self.contract, uids, self._cipher_now())

    def directions(self) -> Iterator[tuple[list[str], Floats]]:
        """Everybody's uid and the direction of the mean of their templates [N, D], some people at a time, all
        of one moment. Raises `Unreadable` where a stored template is not what was written."""
        with self._file.reading(), self._file.snapshot():
            people = everybody.stream(self._file, self.contract, self._cipher_now())
            while some := list(islice(people, _DIRECTIONS)):
                yield [uid for uid, _ in some], np.stack([fuse(one.embeddings) for _, one in some])

    def holders(self, photo: str) -> list[str]:
        """Under whose names the photo with this SHA-256 is enrolled."""
        with self._file.snapshot():
            rows = self._file.rows(
                f"SELECT people.id, {self._stored.uid_column}, name FROM people"
                " JOIN templates ON person = people.id WHERE photo = ?",
                photo,
                types=(int, str, str),
            )
        return sorted(self._name(*row) for row in rows)

    def version(self) -> int:
        """A number that is another one after another program has changed the gallery."""
        return self._file.version()

    def schema(self) -> tuple[int, int]:
        """The schema of the file, and the one that this facekd leads it to when it changes it."""
        return self._file.schemas()

    def state(self) -> str | None:
        """A word that is another one after every change of who is enrolled; `None` for a gallery of an
        older schema that is only read."""
        return self._file.state()

    def audit_entries(self, since: str = "") -> Iterator[AuditEntry]:
        """What was done from a moment on (as `audit.moment` writes it), the oldest first."""
        by = "asked_by" if self._file.schema >= ASKERS_SINCE else "''"
        query = f"SELECT date, action, person, templates, {by} FROM audit WHERE date >= ? ORDER BY id"
        for row in self._file.stream(query, since):
            self._file.check_types(row, (str, str, int, int, str))
            date, action, person, templates, asker = row
            yield AuditEntry(date, action, person, templates, asker or None)

    def note_reads(self, entries: Sequence[ReadEntry]) -> None:
        """Write claims and searches into the audit. They are on the disk when it returns; no answer may be
        given before. Raises `InputOutput` where that fails, or another program writes for too long."""
        with self._file.noting():
            audit.note_reads(self._file.db, entries, self._by)

    def read_entries(self, since: str = "") -> Iterator[ReadEntry]:
        """The claims and searches that were audited from a moment on, the oldest first."""
        if self._file.schema < READS_SINCE:
            return
        rates = "coalesce(fmr, -1.0), coalesce(fpir, -1.0)"
        columns = f"action, person, result, model, space, reason, {rates}, asked_by, date"
        query = f"SELECT {columns} FROM audit_reads WHERE date >= ? ORDER BY id"
        for row in self._file.stream(query, since):
            self._file.check_types(row, (str, int, str, str, str, str, float, float, str, str))
            action, person, result, model, space, reason, fmr, fpir, asker, date = row
            yield ReadEntry(
                action, person, result, model, space, reason or None,
                fmr if fmr >= 0 else None, fpir if fpir >= 0 else None, asker or None, date,
            )  # fmt: skip

    def statistics(self) -> Statistics:
        """How large the gallery is, and of what."""
        with self._file.reading():
            return statistics.measure(self._file.db, self._file.size(), self.has_uids)

    def prune_audit(self, before: str, reads_only: bool = False) -> int:
        """Delete what the audit holds from before a moment, or with ``reads_only`` the claims and searches;
        return how many entries. That is audited, too."""
        self._file.must_change()
        return audit.prune(self._file.db, before, self._by, reads_only)

    def encrypt(self, key: KeySource | None, names: bool | None = None) -> int:
        """Write all templates anew, encrypted by ``key``, or in the clear where that is `None`; return how
        many. ``names`` of people are encrypted with them, or not; as before where that is `None`. No byte of
        how they were before stays in the file, or in the tables of a database.

        Raises `Unreadable` where one of them is damaged, `UsageError` for a name of version 0.1.0 that cannot
        be encrypted, and where a search index holds templates in the clear, `InputOutput` for a user of a
        database who does not own the gallery.
        """
        self._file.must_change()
        if key is not None and self._file.is_indexed():
            raise UsageError(
                f"{self.path} has a search index, which holds its templates in the clear",
                "Drop the index first: facekd gallery index --engine exact",
            )
        before, was = self._writing, self.encryption
        with_names = (was is not None and was.names) if names is None else names
        self._file.owe_erasure()
        self._by_name.forget()
        self.encryption, self._cipher = encryption.new(key, with_names) if key else (None, None)
        encryption.state(self._file.db, self.encryption)
        count = encryption.rewrite(self._file, before, self._writing)
        is_rotated = was is not None and was.names == with_names
        action = "decrypt" if key is None else "rotate_key" if is_rotated else "encrypt"
        self._note(action, audit.NOBODY, count)
        return count

    def note_forced(self, name: str, templates: int) -> None:
        """Write into the audit that ``templates`` of a person were taken although the guard of enrollment
        had refused them. Raises `NotFound`."""
        self._file.must_change()
        self._note("force", self._by_name.found(name)[0], templates)

    def _read_encryption(self) -> Encryption | None:
        with self._file.reading():
            return encryption.stated_in(self._file.db, self.path, self._file.schema)

    def _read_contract(self) -> Contract:
        query = "SELECT space, dim, model, detector, aligner FROM contract"
        rows = self._file.rows(query, types=(str, int, str, str, str))
        if len(rows) != 1:
            raise self._file.damaged("its contract is missing")
        return Contract(*rows[0])

    def _delete(self, person: int) -> int:
        """Delete a person; return how many templates went with them."""
        self._by_name.forget()
        self._file.owe_erasure()
        count = self._file.db.execute("DELETE FROM templates WHERE person = ?", (person,)).rowcount
        self._file.db.execute("DELETE FROM people WHERE id = ?", (person,))
        return count

    def _note(self, action: str, person: int, templates: int) -> None:
        audit.note(self._file.db, action, person, templates, self._by)

    def _new_person(self, name: str, uid: str = "") -> int:
        """Add a person, under a random ``uid`` where none is given."""
        uid = uid or secrets.token_hex(16)
        written, lookup = self._names.written(uid, name)
        row = self._file.db.execute(
            "INSERT INTO people (name, uid, lookup) VALUES (?, ?, ?) RETURNING id", (written, uid, lookup)
        )
        return int(row.fetchone()[0])

    def _new_one(self, name: str, uid: str) -> int:
        """Add a person whose name nobody may have. Raises `UsageError` where somebody has it."""
        other = self._by_name.find(name)
        if other is not None:
            raise UsageError(
                f"another person named '{shown(other[1])}' is enrolled already",
                "Rename the one in the gallery: facekd gallery rename OLD NEW",
            )
        return self._new_person(name, uid)

    def _insert(self, person: int, templates: Sequence[Template]) -> int:
        tombstones.restore_photos(self._file.db, person, [template.photo for template in templates])
        owner, stored = self._owner(person), self._stored
        return self._file.db.executemany(
            "INSERT INTO templates (person, space, photo, embedding, quality, enrolled, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (person, photo) DO NOTHING",
            [(person, *stored.packed(owner, template)) for template in templates],
        ).rowcount

    def _check_holders(self, person: int, photo: str) -> None:
        """Raise `UsageError` where the photo is enrolled of somebody else."""
        others = self._file.rows(
            "SELECT people.id, uid, name FROM people JOIN templates ON person = people.id"
            " WHERE photo = ? AND person != ?",
            photo,
            person,
            types=(int, str, str),
        )
        if others:
            raise UsageError(
                f"photo {photo[:12]} belongs to another person in the archive than in the gallery, "
                f"'{shown(self._name(*others[0]))}'",
                "Remove it where it does not belong: facekd gallery remove NAME --photo ID",
            )

    def _check_not_moved(self) -> None:
        """Raise `Misfit` where the gallery was led to another space since it was opened."""
        found = self._read_contract()
        if found.space != self.contract.space:
            raise _misfit(self.path, found, self.contract)

    def _index_changed(self) -> None:
        """Have the search index in a database hold whoever was changed in this transaction. Somebody whose
        template is damaged stays in question, so that they can still be removed."""
        due = self._file.due()
        if due:
            self._file.put_directions(self._directions_of(due))

    def _directions_of(self, uids: Sequence[str]) -> dict[str, Floats]:
        """Those whose templates can be read."""
        try:
            return {uid: fuse(one.embeddings) for uid, one in self.some(uids).items()}
        except Unreadable:
            half = len(uids) // 2
            if not half:
                return {}
            return self._directions_of(uids[:half]) | self._directions_of(uids[half:])

    def _owner(self, person: int) -> Owner:
        """Of the templates of the person with this number."""
        query = "SELECT uid, name FROM people WHERE id = ?"
        return Owner(*self._file.rows(query, person, types=(str, str))[0])

    @property
    def _stored(self) -> TemplateRows:
        return TemplateRows(self.contract, self._file.schema, self._cipher_now())

    def _cipher_now(self) -> Cipher | None:
        """What the gallery is encrypted by. Raises `InputOutput` where another program has changed that since
        it was opened."""
        if not self._is_changing:
            with self._file.reading():
                encryption.check_unchanged(self._file, self.encryption)
        return self._cipher

    @property
    def _names(self) -> StoredNames:
        return encryption.names_of(self._cipher)

    @property
    def _writing(self) -> encryption.Writing:
        return encryption.Writing(self._stored, self._names)

    def _name(self, number: int, uid: str, stored: str) -> str:
        """The name of a person. Raises `Unreadable` where it is not what was written."""
        name = self._names.read(uid, stored)
        if name is None:
            raise self._file.damaged(f"the name of person {number} cannot be read")
        return name

    def _seal_again(self, person: int, owner: Owner, new: Owner) -> None:
        """Make the templates of ``person``, who was ``owner``, those of ``new``: checksum and encryption
        cover whose they are. Damaged ones stay damaged."""
        stored, changed = self._stored, []
        columns = "id, photo, embedding, quality, enrolled, checksum"
        for number, *row in self._file.rows(f"SELECT {columns} FROM templates WHERE person = ?", person):
            found = stored.taken_over(stored, owner, new, *row)
            changed.append((*(found or (row[1], "")), number))
        self._file.rewrite_templates(changed)


def _misfit(path: Place, gallery: Contract, model: Contract) -> Misfit:
    came_with = EARLIER_STUDENTS.get(gallery.model)
    shipped = f", an earlier student of facekd ({came_with})" if came_with else ""
    return Misfit(
        f"{path} was made with {gallery.model} (space {gallery.space[:12]}){shipped}, "
        f"which is incompatible with {model.model} (space {model.space[:12]})",
        f"Use --model with {gallery.model}, or move the gallery to this model: facekd gallery re-embed "
        "--from PHOTOS.",
    )
