"""Import people, and removals of people and photos, from an archive."""

from __future__ import annotations

from collections.abc import Sequence

from facekd.errors import UsageError
from facekd.gallery import tombstones
from facekd.gallery.audit_notes import AuditNotes
from facekd.gallery.entries import TakenIn
from facekd.gallery.names import shown
from facekd.gallery.open_gallery import OpenGallery
from facekd.gallery.person_rows import PersonRows
from facekd.gallery.template import Template


class PeopleImport:
    """Imports into an open ``gallery``, recorded in its audit (``notes``). The methods do what those of
    `GalleryRecords` with the same names document."""

    def __init__(self, gallery: OpenGallery, notes: AuditNotes) -> None:
        self._gallery, self._file, self._notes = gallery, gallery.file, notes
        self._rows = PersonRows(gallery)

    def take_in(self, uid: str, name: str, templates: Sequence[Template], restore: bool) -> TakenIn:
        self._gallery.must_take_templates()
        there = tombstones.look_up(self._file.db, uid)
        if there.removed and not restore:
            return TakenIn(0, len(templates), is_removed=True)
        wanted = [
            t for t in templates if restore or not tombstones.is_photo_removed(self._file.db, uid, t.photo)
        ]
        if not wanted:
            return TakenIn(0, len(templates))
        person = self._insert(name, uid) if there.person is None else there.person
        if there.removed:
            tombstones.restore(self._file.db, uid)
            self._notes.note("restore", person, 0)
        for template in wanted:
            self._check_holders(person, template.photo)
        added = self._rows.insert_templates(person, wanted)
        if added:
            self._notes.note("import", person, added)
        return TakenIn(added, len(templates) - len(wanted), is_new=there.person is None)

    def learn_removal(self, uid: str, date: str, merged_into: str | None) -> None:
        self._file.must_change()
        tombstones.learn(self._file.db, uid, date, merged_into)

    def learn_photo_removal(self, seal: str, uid: str, date: str) -> None:
        self._file.must_change()
        tombstones.learn_photo(self._file.db, seal, uid, date)

    def _insert(self, name: str, uid: str) -> int:
        """Insert a person. Raises `UsageError` if somebody else has the name."""
        other = self._gallery.by_name.find(name)
        if other is not None:
            raise UsageError(
                f"another person named '{shown(other[1])}' is already enrolled",
                "Rename the person in the gallery: facekd gallery rename OLD NEW",
            )
        return self._rows.insert(name, uid)

    def _check_holders(self, person: int, photo: str) -> None:
        """Raise `UsageError` if the photo is enrolled for somebody else."""
        others = self._file.rows(
            "SELECT people.id, uid, name FROM people JOIN templates ON person = people.id"
            " WHERE photo = ? AND person != ?",
            photo,
            person,
            types=(int, str, str),
        )
        if others:
            raise UsageError(
                f"photo {photo[:12]} belongs to '{shown(self._gallery.name(*others[0]))}' in the gallery, "
                "but to another person in the archive",
                "Remove it from the wrong person: facekd gallery remove NAME --photo ID",
            )
