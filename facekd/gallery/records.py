"""The records of a gallery: who is enrolled, with which templates, under which contract."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from facekd.gallery import audit, statistics
from facekd.gallery.audit import AuditEntry, ReadEntry
from facekd.gallery.audit_notes import AuditNotes
from facekd.gallery.changing_people import PeopleChanges
from facekd.gallery.encryption import Encryption
from facekd.gallery.engine import Engine
from facekd.gallery.enrolled_people import EnrolledPeople
from facekd.gallery.entries import Contract, Merged, Person, TakenIn
from facekd.gallery.everybody import Everybody, Somebody
from facekd.gallery.importing_people import PeopleImport
from facekd.gallery.keys import KeySource, key_in_use
from facekd.gallery.mean_directions import MeanDirections
from facekd.gallery.migrations import UIDS_SINCE
from facekd.gallery.open_gallery import OpenGallery
from facekd.gallery.opening import Opening
from facekd.gallery.photo_ids import EnrolledPhoto
from facekd.gallery.place import Place, ServerAddress, gallery_place
from facekd.gallery.postgres.gallery_server import GalleryServer
from facekd.gallery.statistics import Statistics
from facekd.gallery.template import Template

Floats = NDArray[np.float32]


class GalleryRecords:
    """A gallery in an SQLite file or, if ``path`` is a URL, in a database of a PostgreSQL server.

    ``contract`` is that of the model in use. ``create`` makes a missing gallery, pinned to this contract;
    with ``late`` a file is made only when the first change is made: until then `is_made` is false, and
    nothing is written to the disk. Raises `Misfit` if an existing gallery is of another space, unless that is
    one of the ``compatible`` spaces that the model's card lists. In a compatible space, or without a
    contract, the gallery can be read and people can be removed, but no templates can be added.

    A gallery of an older schema is migrated when it is opened, unless it is opened ``read_only``, which needs
    no write access. The audit records ``by`` whom each change was requested, if known. With ``audit_reads``,
    callers that compare faces with the gallery must record that as well (`note_reads`).

    With a ``key`` (default: `key_in_use`) a new gallery is encrypted, and with ``encrypt_names`` the names of
    people too. For an existing gallery the key must be the right one: raises `NoKey` or `WrongKey`, or
    `UsageError` if the gallery is not encrypted.

    Changes are made inside ``with records.transaction()``: all of them happen or none, and once the block has
    been left they survive a killed process and a power failure. Failures of the storage raise `InputOutput`
    or `Unreadable`.
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
        self._opening = Opening(self.path, contract, tuple(compatible), key_in_use(key), encrypt_names)
        planned: OpenGallery | None = None
        if create and contract is not None and late:
            planned = self._opening.plan()
        elif create and contract is not None:
            self._opening.make()
        self.is_made = planned is None
        self._use(planned or self._opening.open(read_only))

    def _use(self, gallery: OpenGallery) -> None:
        """Work with this open gallery from now on."""
        self._gallery = gallery
        self._notes = AuditNotes(gallery.file, self._by)
        self._enrolled = EnrolledPeople(gallery)
        self._changes = PeopleChanges(gallery, self._enrolled, self._notes)
        self._import = PeopleImport(gallery, self._notes)
        self._directions = MeanDirections(gallery, self._enrolled)

    def _make(self) -> None:
        """Make the gallery that was to be made late, or open the one that another program has made in the
        meantime."""
        self._opening.make()
        made = self._opening.open(read_only=False)
        self.close()
        self.is_made = True
        self._use(made)

    def __enter__(self) -> GalleryRecords:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the gallery. The write-ahead log of a file is truncated if nobody else is reading it, so that
        the last program to close completes a pending erasure."""
        self._file.close()

    @property
    def contract(self) -> Contract:
        """The contract to which the gallery is pinned."""
        return self._gallery.contract

    @property
    def encryption(self) -> Encryption | None:
        """How the gallery is encrypted; `None` if it is not."""
        return self._gallery.encryption

    @property
    def server(self) -> GalleryServer | None:
        """The open database; `None` if the gallery is a file."""
        return self._file if isinstance(self._file, GalleryServer) else None

    @property
    def pending(self) -> bool:
        """Whether bytes of what was last removed remain because another program is reading."""
        return self._file.pending

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes made inside happen together when the block is left, or not at all.

        Copies of templates that speed up searches (`search_file`) are deleted first, so that no removal is
        acknowledged while one of them remains. If data was removed, its bytes are then erased from the
        gallery; afterwards `pending` states whether some remain because another program is reading.
        """
        if not self.is_made:
            self._make()
        with self._gallery.transaction():
            yield
            self._directions.index_changed()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside is from one moment, whatever others write in the meantime."""
        with self._file.snapshot():
            yield

    def erase(self) -> bool:
        """Complete a pending erasure of what was removed earlier; return whether nothing remains."""
        return self._file.erase()

    def add(self, name: str, templates: Sequence[Template]) -> int:
        """Add ``templates`` to the person ``name``, who is enrolled if they are new; return how many were
        added. Photos that the person already has are skipped.

        Raises `UsageError` for an invalid name, `Misfit` for an embedding of another length.
        """
        return self._changes.add(name, templates)

    def remove(self, name: str) -> int:
        """Remove a person; return the number of their templates. Raises `NotFound`."""
        return self._changes.remove(name)

    def remove_photo(self, name: str, photo_id: str) -> EnrolledPhoto:
        """Remove one photo of a person, given by its id or the beginning of it; return the photo.

        Raises `NotFound`, and `UsageError` if several ids begin that way or the person has no other photo.
        """
        return self._changes.remove_photo(name, photo_id)

    def rename(self, name: str, new: str) -> str:
        """Give a person another name; return it as it is stored.

        Raises `NotFound`, and `UsageError` if the new name is invalid or somebody else has it.
        """
        return self._changes.rename(name, new)

    def merge(self, name: str, other: str) -> Merged:
        """Give the photos of ``other`` to the person ``name``; ``other`` is then no longer enrolled. A photo
        that both have is kept once. Raises `NotFound`, and `UsageError` if both are the same person."""
        return self._changes.merge(name, other)

    def note_forced(self, name: str, templates: int) -> None:
        """Record in the audit that ``templates`` of a person were added although the enrolment guard had
        refused them. Raises `NotFound`."""
        self._changes.note_forced(name, templates)

    def take_in(self, uid: str, name: str, templates: Sequence[Template], restore: bool) -> TakenIn:
        """Add ``templates`` from an archive to the person with ``uid``, who is enrolled as ``name`` if they
        are new. People and photos that were removed here are skipped unless ``restore``.

        Raises `UsageError` if somebody else has the name or one of the photos.
        """
        return self._import.take_in(uid, name, templates, restore)

    def learn_removal(self, uid: str, date: str, merged_into: str | None) -> None:
        """Record the removal of a person, stated in an archive, unless they are enrolled here."""
        self._import.learn_removal(uid, date, merged_into)

    def learn_photo_removal(self, seal: str, uid: str, date: str) -> None:
        """Record the removal of a photo, stated in an archive, if its person is enrolled here."""
        self._import.learn_photo_removal(seal, uid, date)

    def people(self) -> list[Person]:
        """Everybody, sorted by name."""
        return self._enrolled.people()

    def names(self) -> list[str]:
        """The names of everybody, sorted."""
        return self._enrolled.names()

    def person(self, name: str) -> Person:
        """One person. Raises `NotFound`."""
        return self._enrolled.person(name)

    def number_of(self, name: str) -> int:
        """The number that identifies a person in the audit. Raises `NotFound`."""
        return self._enrolled.number_of(name)

    def uid_of(self, name: str) -> str:
        """The random uid that identifies a person in archives. Raises `NotFound`."""
        return self._enrolled.uid_of(name)

    def name_of(self, name: str) -> str:
        """``name`` as the gallery stores it, or would store it. Raises `UsageError` if nobody has this name
        and it is invalid."""
        return self._enrolled.name_of(name)

    def photos(self, name: str) -> list[EnrolledPhoto]:
        """A person's photos in the order of enrolment, whether or not their embeddings can be read. Raises
        `NotFound`."""
        return self._enrolled.photos(name)

    def templates(self, name: str) -> list[Template]:
        """A person's templates in the order of enrolment. Raises `NotFound`, and `Unreadable` if a stored
        template is not what was written."""
        return self._enrolled.templates(name)

    def everybody(self) -> Everybody:
        """All people and all templates, from one moment. Raises `Unreadable` if a stored template is not what
        was written."""
        return self._enrolled.everybody()

    def count(self) -> int:
        """The number of people."""
        return self._enrolled.count()

    def some_uids(self, most: int) -> list[str]:
        """The uids of at most ``most`` people: a random sample, since uids are random."""
        return self._enrolled.some_uids(most)

    def some(self, uids: Sequence[str]) -> dict[str, Somebody]:
        """Those of the people with these ``uids`` who are enrolled, by uid. Raises `Unreadable` if a stored
        template is not what was written."""
        return self._enrolled.some(uids)

    def directions(self) -> Iterator[tuple[list[str], Floats]]:
        """The uids of everybody, and the direction of the mean of each person's templates [N, D]; in blocks,
        from one moment. Raises `Unreadable` if a stored template is not what was written."""
        yield from self._directions.of_everybody()

    def holders(self, photo: str) -> list[str]:
        """The names of the people for whom the photo with this SHA-256 is enrolled, sorted."""
        return self._enrolled.holders(photo)

    @property
    def has_uids(self) -> bool:
        """Whether people have uids: not in a gallery of an older schema that is opened read-only."""
        return self._file.schema >= UIDS_SINCE

    def removals(self) -> Iterator[tuple[str, str, str | None]]:
        """The people who were removed: uid, date, and the uid of the person they were merged into."""
        yield from self._file.stream("SELECT uid, date, merged_into FROM removed_people ORDER BY uid")

    def photo_removals(self) -> Iterator[tuple[str, str, str]]:
        """The photos that were removed from people still enrolled: seal, the person's uid, date."""
        yield from self._file.stream("SELECT seal, person, date FROM removed_photos ORDER BY seal")

    def version(self) -> int:
        """A number that changes when another program has changed the gallery."""
        return self._file.version()

    def schema(self) -> tuple[int, int]:
        """The schema of the gallery, and the one to which this facekd migrates it before a change."""
        return self._file.schemas()

    def state(self) -> str | None:
        """A word that changes with every change of who is enrolled; `None` for a gallery of an older schema
        that is opened read-only."""
        return self._file.state()

    def statistics(self) -> Statistics:
        """The size of the gallery, and its contents."""
        with self._file.reading():
            return statistics.measure(self._file.db, self._file.size(), self.has_uids)

    def audit_entries(self, since: str = "") -> Iterator[AuditEntry]:
        """The changes recorded since a moment (written as by `audit.moment`), oldest first."""
        yield from self._notes.entries(since)

    def read_entries(self, since: str = "") -> Iterator[ReadEntry]:
        """The claims and searches recorded since a moment, oldest first."""
        yield from self._notes.read_entries(since)

    def note_reads(self, entries: Sequence[ReadEntry]) -> None:
        """Record claims and searches in the audit. They are on the disk when this returns; no answer may be
        given before. Raises `InputOutput` if that fails, or if another program writes for too long."""
        self._notes.note_reads(entries)

    def prune_audit(self, before: str, reads_only: bool = False) -> int:
        """Delete the entries of the audit from before a moment, with ``reads_only`` only claims and searches;
        return how many. The audit records that as well."""
        return self._notes.prune(before, reads_only)

    def encrypt(self, key: KeySource | None, names: bool | None = None) -> int:
        """Rewrite all templates, encrypted with ``key``, or in the clear if it is `None`; return how many.
        ``names`` states whether names of people are encrypted as well; `None` leaves that as it is. No byte
        of the earlier form remains in the gallery.

        Raises `Unreadable` if a template is damaged, `UsageError` for a name of version 0.1.0 that cannot be
        encrypted or if a search index holds templates in the clear, `InputOutput` for a user of a database
        who does not own the gallery.
        """
        self._file.must_change()
        was = self.encryption
        with_names = (was is not None and was.names) if names is None else names
        count = self._gallery.encrypt(key, with_names)
        is_rotated = was is not None and was.names == with_names
        action = "decrypt" if key is None else "rotate_key" if is_rotated else "encrypt"
        self._notes.note(action, audit.NOBODY, count)
        return count

    @property
    def _file(self) -> Engine:
        return self._gallery.file
