"""Read who is enrolled, and with which photos and templates."""

from __future__ import annotations

from collections.abc import Sequence

from facekd.gallery import everybody, tombstones
from facekd.gallery.entries import Person
from facekd.gallery.everybody import Everybody, Somebody
from facekd.gallery.names import clean_name, shown
from facekd.gallery.open_gallery import OpenGallery
from facekd.gallery.photo_ids import EnrolledPhoto, short_ids
from facekd.gallery.template import Template
from facekd.gallery.template_rows import Owner


class EnrolledPeople:
    """The people of an open ``gallery``. The methods do what those of `GalleryRecords` with the same names
    document."""

    def __init__(self, gallery: OpenGallery) -> None:
        self._gallery, self._file, self._by_name = gallery, gallery.file, gallery.by_name

    def people(self) -> list[Person]:
        with self._file.snapshot():
            rows = self._file.rows(
                f"SELECT people.id, {self._gallery.stored.uid_column}, name,"
                " count(*), min(enrolled), max(enrolled)"
                " FROM people JOIN templates ON person = people.id GROUP BY people.id ORDER BY name",
                types=(int, str, str, int, str, str),
            )
        found = [Person(self._gallery.name(number, uid, name), *row) for number, uid, name, *row in rows]
        return sorted(found, key=lambda person: person.name)

    def names(self) -> list[str]:
        with self._file.snapshot():
            self._gallery.cipher_now()
            if self._gallery.names.cipher is None:
                rows = self._file.rows("SELECT name FROM people ORDER BY name", types=(str,))
                return [row[0] for row in rows]
            rows = self._file.rows("SELECT id, uid, name FROM people", types=(int, str, str))
        return sorted(self._gallery.name(*row) for row in rows)

    def person(self, name: str) -> Person:
        number, stored = self._by_name.found(name)
        rows = self._file.rows(
            "SELECT count(*), coalesce(min(enrolled), ''), coalesce(max(enrolled), '') FROM templates"
            " WHERE person = ?",
            number,
            types=(int, str, str),
        )
        return Person(stored, *rows[0])

    def number_of(self, name: str) -> int:
        return self._by_name.found(name)[0]

    def uid_of(self, name: str) -> str:
        return tombstones.uid_of(self._file.db, self.number_of(name))

    def name_of(self, name: str) -> str:
        found = self._by_name.find(name)
        return found[1] if found else clean_name(name)

    def photos(self, name: str) -> list[EnrolledPhoto]:
        query = "SELECT photo, quality, enrolled FROM templates WHERE person = ? ORDER BY id"
        rows = self._file.rows(query, self.number_of(name), types=(str, float, str))
        ids = short_ids([photo for photo, _, _ in rows])
        return [EnrolledPhoto(id, *row) for id, row in zip(ids, rows, strict=True)]

    def templates(self, name: str) -> list[Template]:
        number, stored = self._by_name.found(name)
        columns = "photo, embedding, quality, enrolled"
        with self._file.snapshot():
            stored_as = self._gallery.stored
            rows = self._file.rows(
                f"SELECT {stored_as.uid_column}, name, {columns}, {stored_as.checksum_column} FROM templates"
                " JOIN people ON people.id = person WHERE person = ? ORDER BY templates.id",
                number,
            )
        if not rows:  # nobody is enrolled without a template
            self._by_name.found(name)  # raises `NotFound` if the person was removed in the meantime
            raise self._file.damaged(f"'{shown(stored)}' has no template")
        found = [stored_as.unpacked(Owner(uid, name), *row) for uid, name, *row in rows]
        if None in found:
            raise everybody.unreadable(self._file, self._gallery.contract, stored)
        return [template for template in found if template is not None]

    def everybody(self) -> Everybody:
        with self._file.reading(), self._file.snapshot():
            return everybody.read(self._file, self._gallery.contract, self._gallery.cipher_now())

    def count(self) -> int:
        return int(self._file.rows("SELECT count(*) FROM people", types=(int,))[0][0])

    def some_uids(self, most: int) -> list[str]:
        rows = self._file.rows("SELECT uid FROM people ORDER BY uid LIMIT ?", most, types=(str,))
        return [row[0] for row in rows]

    def some(self, uids: Sequence[str]) -> dict[str, Somebody]:
        with self._file.reading(), self._file.snapshot():
            return everybody.read_some(self._file, self._gallery.contract, uids, self._gallery.cipher_now())

    def holders(self, photo: str) -> list[str]:
        with self._file.snapshot():
            rows = self._file.rows(
                f"SELECT people.id, {self._gallery.stored.uid_column}, name FROM people"
                " JOIN templates ON person = people.id WHERE photo = ?",
                photo,
                types=(int, str, str),
            )
        return sorted(self._gallery.name(*row) for row in rows)
