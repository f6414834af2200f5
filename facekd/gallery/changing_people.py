"""Add, remove, rename and merge people, and record it in tombstones and in the audit."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from facekd.errors import UsageError
from facekd.gallery import tombstones
from facekd.gallery.audit_notes import AuditNotes
from facekd.gallery.enrolled_people import EnrolledPeople
from facekd.gallery.entries import Merged
from facekd.gallery.names import clean_name, shown
from facekd.gallery.open_gallery import OpenGallery
from facekd.gallery.person_rows import PersonRows
from facekd.gallery.photo_ids import EnrolledPhoto, photo_with
from facekd.gallery.template import Template


class PeopleChanges:
    """Changes of the people ``enrolled`` in an open ``gallery``, recorded in its audit (``notes``). The
    methods do what those of `GalleryRecords` with the same names document."""

    def __init__(self, gallery: OpenGallery, enrolled: EnrolledPeople, notes: AuditNotes) -> None:
        self._gallery, self._file, self._by_name = gallery, gallery.file, gallery.by_name
        self._enrolled, self._notes = enrolled, notes
        self._rows = PersonRows(gallery)

    def add(self, name: str, templates: Sequence[Template]) -> int:
        self._gallery.must_take_templates()
        if not templates:
            raise ValueError("a person needs at least one template")
        found = self._by_name.find(name)
        person = found[0] if found else self._rows.insert(clean_name(name))
        added = self._rows.insert_templates(person, templates)
        self._notes.note("add", person, added)
        return added

    def remove(self, name: str) -> int:
        self._file.must_change()
        person, _ = self._by_name.found(name)
        tombstones.bury(self._file.db, person)
        count = self._rows.delete(person)
        self._notes.note("remove", person, count)
        return count

    def remove_photo(self, name: str, photo_id: str) -> EnrolledPhoto:
        self._file.must_change()
        person, stored = self._by_name.found(name)
        photos = {photo.photo: photo for photo in self._enrolled.photos(stored)}
        digest = photo_with(photo_id, list(photos))
        if len(photos) == 1:
            raise UsageError(
                f"this is the only photo of '{shown(stored)}', and a person needs at least one",
                "Remove the person instead: facekd gallery remove NAME",
            )
        tombstones.bury_photo(self._file.db, person, digest)
        self._rows.delete_photo(person, digest)
        self._notes.note("remove_photo", person, 1)
        return photos[digest]

    def rename(self, name: str, new: str) -> str:
        self._file.must_change()
        person, stored = self._by_name.found(name)
        cleaned = clean_name(new)
        other = self._by_name.find(cleaned)
        if other is not None and other[0] != person:
            raise UsageError(
                f"'{shown(other[1])}' is already enrolled",
                "If they are the same person: facekd gallery merge "
                + shlex.join((shown(other[1]), shown(stored))),
            )
        if cleaned != stored:
            self._rows.rename(person, cleaned)
            self._notes.note("rename", person, self._enrolled.person(cleaned).templates)
        return cleaned

    def merge(self, name: str, other: str) -> Merged:
        self._file.must_change()
        (person, stored), (gone, theirs) = self._by_name.found(name), self._by_name.found(other)
        if person == gone:
            raise UsageError(f"'{shown(stored)}' and '{shown(other)}' are already the same person")
        tombstones.bury_merged(self._file.db, gone, person)
        moved = self._rows.give_templates(gone, person)
        present = self._rows.delete(gone)
        self._notes.note("merge", person, moved)
        self._notes.note("merged", gone, moved + present)
        return Merged(stored, theirs, moved, present)

    def note_forced(self, name: str, templates: int) -> None:
        self._file.must_change()
        self._notes.note("force", self._by_name.found(name)[0], templates)
