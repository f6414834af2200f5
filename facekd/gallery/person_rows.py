"""Write the rows of people and of their templates."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from facekd.gallery import tombstones
from facekd.gallery.open_gallery import OpenGallery
from facekd.gallery.template import Template
from facekd.gallery.template_rows import Owner


class PersonRows:
    """The rows of people in an open ``gallery``, inside a transaction. People are given by their number."""

    def __init__(self, gallery: OpenGallery) -> None:
        self._gallery, self._file = gallery, gallery.file

    def insert(self, name: str, uid: str = "") -> int:
        """Insert a person, with a random ``uid`` if none is given; return their number."""
        uid = uid or secrets.token_hex(16)
        written, lookup = self._gallery.names.written(uid, name)
        row = self._file.db.execute(
            "INSERT INTO people (name, uid, lookup) VALUES (?, ?, ?) RETURNING id", (written, uid, lookup)
        )
        return int(row.fetchone()[0])

    def insert_templates(self, person: int, templates: Sequence[Template]) -> int:
        """Insert ``templates``, except for photos that the person already has; return how many were new."""
        tombstones.restore_photos(self._file.db, person, [template.photo for template in templates])
        owner, stored = self._owner(person), self._gallery.stored
        return self._file.db.executemany(
            "INSERT INTO templates (person, space, photo, embedding, quality, enrolled, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (person, photo) DO NOTHING",
            [(person, *stored.packed(owner, template)) for template in templates],
        ).rowcount

    def delete(self, person: int) -> int:
        """Delete a person and their templates; return the number of templates."""
        self._gallery.by_name.forget()
        self._file.owe_erasure()
        count = self._file.db.execute("DELETE FROM templates WHERE person = ?", (person,)).rowcount
        self._file.db.execute("DELETE FROM people WHERE id = ?", (person,))
        return count

    def delete_photo(self, person: int, photo: str) -> None:
        """Delete the template of one photo (its SHA-256)."""
        self._file.owe_erasure()
        self._file.db.execute("DELETE FROM templates WHERE person = ? AND photo = ?", (person, photo))

    def rename(self, person: int, name: str) -> None:
        """Give a person another name."""
        self._gallery.by_name.forget()
        self._file.owe_erasure()
        before = self._owner(person)
        written, lookup = self._gallery.names.written(before.uid, name)
        self._seal_again(person, before, Owner(before.uid, written))
        self._file.rewrite_names([(written, lookup, person)])

    def give_templates(self, person: int, other: int) -> int:
        """Give the templates of ``person`` to ``other``, except for photos that ``other`` already has; return
        how many were given."""
        self._seal_again(person, self._owner(person), self._owner(other))
        return self._file.db.execute(
            "UPDATE templates SET person = ? WHERE person = ?"
            " AND photo NOT IN (SELECT photo FROM templates WHERE person = ?)",
            (other, person, other),
        ).rowcount

    def _owner(self, person: int) -> Owner:
        """The owner, as checksums and encryption of the person's templates state it."""
        query = "SELECT uid, name FROM people WHERE id = ?"
        return Owner(*self._file.rows(query, person, types=(str, str))[0])

    def _seal_again(self, person: int, owner: Owner, new: Owner) -> None:
        """Change the owner of the templates of ``person``, which checksum and encryption cover. Damaged
        templates stay damaged."""
        stored, changed = self._gallery.stored, []
        columns = "id, photo, embedding, quality, enrolled, checksum"
        for number, *row in self._file.rows(f"SELECT {columns} FROM templates WHERE person = ?", person):
            found = stored.taken_over(stored, owner, new, *row)
            changed.append((*(found or (row[1], "")), number))
        self._file.rewrite_templates(changed)
