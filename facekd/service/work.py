"""The workflow of each request, and its document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facekd.gallery import GalleryRecords, Place, is_there
from facekd.service.failures import NobodyEnrolled
from facekd.workflows import (
    FPIR,
    PhotoInHand,
    Recognizer,
    Verification,
    enroll_people,
    enrolled_document,
    identify_photo,
    open_search,
    people_document,
    person_document,
    remove_person,
    removed_document,
    verification_document,
    verification_notes,
    verify_claim,
)

Document = dict[str, Any]
#: the name, in messages, of the photo in a request with one
_THE_PHOTO = "the photo"


@dataclass(frozen=True)
class Change:
    """A document, and a description of the change for the log, which identifies people by number."""

    document: Document
    told: str


class Work:
    """A gallery and its recognizer, which threads may share.

    The gallery is opened for each request. It is created only when the service starts: a gallery that
    disappears later is missing, not empty. With ``audit_reads``, each claim and search is recorded in it
    before it is answered, with the name ``by`` of the token.
    """

    def __init__(self, recognizer: Recognizer, gallery: Place, audit_reads: bool = False) -> None:
        self.recognizer, self.gallery, self.audit_reads = recognizer, gallery, audit_reads
        self.limit = recognizer.threshold

    def prepare(self) -> None:
        """Create the gallery if it does not exist, and check that it can be used. Raises if it cannot."""
        if not is_there(self.gallery):
            GalleryRecords(self.gallery, self.recognizer.contract, create=True).close()
        self.check()

    def check(self) -> None:
        """Raise an error if the gallery cannot be used at the moment."""
        with self.recognizer.open_gallery(self.gallery) as records:
            records.version()

    def verify(self, photo: bytes, other: bytes) -> Document:
        return self._verified(self.recognizer.verify(photo, other))

    def verify_claim(self, photo: bytes, name: str, by: str | None) -> Document:
        with self.recognizer.open_gallery(self.gallery, audit_reads=self.audit_reads, by=by) as records:
            decision = verify_claim(self.recognizer, records, name, photo, self.limit, _THE_PHOTO)
        return self._verified(decision)

    def _verified(self, decision: Verification) -> Document:
        notes = verification_notes(decision, self.limit)
        return {"schema": "verify/1"} | self._discreet(
            verification_document(decision, self.recognizer, notes)
        )

    def identify(self, photo: bytes, top: int, all_faces: bool, by: str | None) -> Document:
        with self.recognizer.open_gallery(self.gallery, audit_reads=self.audit_reads, by=by) as records:
            search = open_search(self.recognizer, records, FPIR, self.recognizer.given_threshold)
            found = identify_photo(search, photo, top=top, all_faces=all_faces, name=_THE_PHOTO)
        return {"schema": "identify/1"} | self._discreet(found.to_dict())

    def enroll(self, name: str, photos: Sequence[bytes], on_many: str, force: bool, by: str | None) -> Change:
        given = [PhotoInHand(photo, f"photo {number}") for number, photo in enumerate(photos, start=1)]
        with GalleryRecords(self.gallery, self.recognizer.contract, by=by) as records:
            stored = records.name_of(name)
            (entry,) = enroll_people(records, self.recognizer, {stored: given}, on_many, force)
            if not entry.templates:
                raise NobodyEnrolled(entry)
            number = records.number_of(entry.name)
        document = {"schema": "enroll/1"} | self._discreet(enrolled_document(entry))
        return Change(document, f"person {number}, {entry.added} templates added, {entry.forced} forced")

    def people(self) -> Document:
        with GalleryRecords(self.gallery, read_only=True) as records:
            return {"schema": "gallery-list/1"} | people_document(records, self.gallery.name)

    def person(self, name: str) -> Document:
        with GalleryRecords(self.gallery, read_only=True) as records:
            return {"schema": "gallery-show/1"} | person_document(records, name)

    def remove(self, name: str, by: str | None) -> Change:
        with GalleryRecords(self.gallery, by=by) as records:
            number = records.number_of(name)
            removed = remove_person(records, name)
        document = {"schema": "gallery-remove/1"} | removed_document(removed)
        return Change(document, f"person {number}, {removed.templates} templates removed")

    def _discreet(self, document: Document) -> Document:
        """``document`` without the path of the gallery in its notes."""
        return document | {"notes": [self.discreet(note) for note in document["notes"]]}

    def discreet(self, text: str) -> str:
        return text.replace(str(self.gallery), self.gallery.name)
