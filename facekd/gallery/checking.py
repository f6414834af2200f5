"""Check a gallery for damage: every row is read once, none is kept in memory, nothing is changed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from facekd.errors import Unreadable, UsageError
from facekd.gallery import encryption
from facekd.gallery.entries import Contract
from facekd.gallery.faults import RESTORE, Fault
from facekd.gallery.file_check import FileUnderCheck
from facekd.gallery.keys import KeySource, key_in_use
from facekd.gallery.migrations import NAMES_SINCE, UIDS_SINCE
from facekd.gallery.names import clean_name, shown
from facekd.gallery.place import Place
from facekd.gallery.postgres.server_check import ServerUnderCheck
from facekd.gallery.template import unpack
from facekd.gallery.template_rows import Owner, TemplateRows

_HEXADECIMAL_64 = re.compile("[0-9a-f]{64}")
_HEXADECIMAL_32 = re.compile("[0-9a-f]{32}")
_ENCRYPTED_NAME = re.compile("[0-9A-Za-z+/]{122,}={0,2}")


@dataclass(frozen=True)
class _Who:
    """How faults refer to a person: their ``name``, if it can be read; ``told``, as messages show it;
    ``typed``, as a command takes it."""

    name: str | None
    told: str
    typed: str


class GalleryCheck:
    """Looks for faults in the gallery at ``place``, which may be in use: in a snapshot of it.

    An encrypted one is decrypted by ``key`` (else that of `key_in_use`); ``without_key`` states that there
    was none: then the checksums of ciphertexts are checked, but neither embeddings nor encrypted names are
    decrypted.

    Raises `InputOutput` if it cannot be read at all, `Unreadable` if it is not a gallery, and the errors of
    `GalleryRecords` for a wrong key.
    """

    def __init__(self, place: Place, key: KeySource | None = None) -> None:
        key = key_in_use(key)
        self.place = place
        self.people = 0
        self.templates = 0
        self._source = FileUnderCheck(place) if isinstance(place, Path) else ServerUnderCheck(place)
        self.schema = self._source.schema
        try:
            self._read_encryption(key)
        except BaseException:
            self._source.close()
            raise

    def faults(self) -> Iterator[Fault]:
        """All faults, as they are found. Closes the gallery at the end."""
        with closing(self._source):
            self._source.begin()
            looks: tuple[Callable[[], Iterator[Fault]], ...] = (
                *self._source.looks(), self._contract, self._people, self._templates, self._photos,
                self._tombstones,
            )  # fmt: skip
            for look in looks:
                try:
                    with self._source.explained():
                        yield from look()
                except Unreadable as error:
                    yield Fault("database", error.cause, RESTORE)
            self._source.finish()

    def _read_encryption(self, key: KeySource | None) -> None:
        stated = self._source.encryption
        self.encrypted = stated is not None
        self.without_key = self.encrypted and key is None
        self._cipher = None if self.without_key else encryption.cipher_of(stated, self.place, key)
        self._names = encryption.names_of(self._cipher)
        self._are_names_encrypted = stated is not None and stated.names

    def _contract(self) -> Iterator[Fault]:
        rows = list(self._source.query("SELECT space, dim FROM contract LIMIT 2"))
        if len(rows) != 1:
            yield Fault("contract", "the contract is missing", RESTORE)
        elif not isinstance(rows[0][0], str) or not isinstance(rows[0][1], int) or rows[0][1] < 1:
            yield Fault("contract", "the contract cannot be read", RESTORE)

    def _people(self) -> Iterator[Fault]:
        columns = f"people.id, {'uid' if self.schema >= UIDS_SINCE else 'NULL'}, name"
        lookup = "lookup" if self.schema >= NAMES_SINCE else "NULL"
        held = "(SELECT count(*) FROM templates WHERE person = people.id)"
        for *row, found_by, photos in self._source.query(f"SELECT {columns}, {lookup}, {held} FROM people"):
            self.people += 1
            who, uid = self._who(*row), row[1]
            if not photos:
                message = f"{who.told} is enrolled without a template"
                yield Fault("no_template", message, f"Remove them: facekd gallery remove {who.typed}")
            if uid is not None and not _HEXADECIMAL_32.fullmatch(str(uid)):
                yield Fault("uid", f"{who.told} has no usable uid", RESTORE)
            yield from self._name(who, row[2], found_by)

    def _name(self, who: _Who, stored: object, found_by: object) -> Iterator[Fault]:
        if self._are_names_encrypted:
            cipher = self._names.cipher
            if not _ENCRYPTED_NAME.fullmatch(str(stored)) or not _HEXADECIMAL_64.fullmatch(str(found_by)):
                yield Fault("name", f"the name of {who.told} is not encrypted as names are", RESTORE)
            elif cipher is not None and who.name is None:
                message = f"the name of {who.told} was not encrypted with the gallery's key for this person"
                yield Fault("name", message, RESTORE)
            elif cipher is not None and who.name is not None and cipher.lookup(who.name) != found_by:
                yield Fault("name", f"{who.told} would not be found by their name", RESTORE)
        elif found_by is not None:
            yield Fault("name", f"the name of {who.told} is not stored as unencrypted names are", RESTORE)
        if who.name is not None and not _is_clean(who.name):
            message = f"the name {who.told} is not in normalised form: another person's may be spelled alike"
            yield Fault("name", message, f"Rename them: facekd gallery rename {who.typed} NEW")

    def _who(self, number: object, uid: object, stored: object) -> _Who:
        name = self._names.read(str(uid), str(stored))
        if name is None or (self._are_names_encrypted and self.without_key):
            return _Who(None, f"person {number}", "NAME")
        return _Who(name, f"'{shown(name)}'", shlex.quote(shown(name)))

    def _templates(self) -> Iterator[Fault]:
        rows = list(self._source.query("SELECT space, dim FROM contract LIMIT 1"))
        space, dim = rows[0] if rows else ("", 0)
        stored = TemplateRows(Contract(str(space), dim, "", "", ""), self.schema, self._cipher)
        overhead = encryption.NONCE_BYTES + encryption.TAG_BYTES if self.encrypted else 0
        for number, uid, name, in_space, *row in self._source.query(
            f"SELECT people.id, {stored.uid_column}, name, templates.space, photo, embedding, quality,"
            f" enrolled, {stored.checksum_column} FROM templates LEFT JOIN people ON people.id = person"
        ):
            self.templates += 1
            if name is None:  # reported as an orphan
                continue
            blob = row[1]
            if not isinstance(blob, bytes) or len(blob) != 4 * dim + overhead:
                wrong = f"its embedding is not one of {dim} values"
            elif not self.encrypted and unpack(blob, dim) is None:
                wrong = "its embedding is not of unit length"
            else:
                owner = Owner(str(uid), str(name))
                wrong = _wrong_with(stored, owner, in_space == space, self.without_key, *row)
            if wrong:
                yield _template_fault(self._who(number, uid, name), str(row[0]), wrong)

    def _photos(self) -> Iterator[Fault]:
        for photo, people in self._source.query(
            "SELECT photo, count(DISTINCT person) FROM templates GROUP BY photo HAVING count(*) > 1"
        ):
            yield Fault(
                "photo_twice",
                f"the photo {shown(str(photo))[:12]} is enrolled for {people} people",
                "If they are the same person: facekd gallery merge; otherwise remove it from the wrong ones: "
                "facekd gallery remove NAME --photo ID",
            )

    def _tombstones(self) -> Iterator[Fault]:
        if self.schema < UIDS_SINCE:
            return
        for row in self._source.query("SELECT id, uid, name FROM people JOIN removed_people USING (uid)"):
            yield Fault(
                "tombstone", f"{self._who(*row).told} is recorded as both enrolled and removed", RESTORE
            )


def _is_clean(name: str) -> bool:
    try:
        return clean_name(name) == name
    except UsageError:
        return False


def _wrong_with(
    stored: TemplateRows, owner: Owner, is_of_space: bool, unopened: bool,
    photo: object, blob: bytes, quality: object, enrolled: object, seal: object,
) -> str:  # fmt: skip
    """What is wrong with a template apart from its embedding, which may be ``unopened``; empty if nothing
    is."""
    if not isinstance(photo, str) or not _HEXADECIMAL_64.fullmatch(photo):
        return "the digest of its photo cannot be read"
    if not is_of_space:
        return "it belongs to another space than the gallery"
    if not isinstance(quality, float) or not 0 <= quality <= 1:
        return "its quality is not between 0 and 1"
    if not isinstance(enrolled, str) or not _is_date(enrolled):
        return "its date cannot be read"
    if not stored.is_sealed(owner, photo, blob, quality, enrolled, seal):
        return "its checksum does not match its contents and its person"
    if not unopened and stored.unpacked(owner, photo, blob, quality, enrolled, seal) is None:
        return "it was not encrypted with the gallery's key for its place"
    return ""


def _is_date(text: str) -> bool:
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _template_fault(who: _Who, photo: str, wrong: str) -> Fault:
    id = shown(photo)[:12]
    return Fault(
        "template",
        f"a template of {who.told} (photo {id}) is damaged: {wrong}",
        f"Remove it (facekd gallery remove {who.typed} --photo {id}; the person, if it is their last) and "
        "enroll the photo again, or restore the gallery from a backup.",
    )
