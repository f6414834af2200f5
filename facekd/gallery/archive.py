"""The archive of a gallery: one file of JSON lines that other programs can read as well.

    {"format": "facekd gallery archive", "version": 1, "contract": {...}, "people": 2, "templates": 3}
    {"person": "<uid>", "name": "Ann Lee"}
    {"template": "<SHA-256 of the photo>", "quality": 0.9, "enrolled": "<date>", "embedding": "<base64>", ...
    {"removed": "<uid>", "date": "<date>", "merged_into": null}
    {"removed_photo": "<seal>", "of": "<uid>", "date": "<date>"}
    {"sha256": "<of all bytes before this line>"}

A person's templates follow the person. An archive may come from anybody: it is read line by line, up to a
length per line, and nothing in it is a path, a pickle or compressed. docs/gallery.md describes every key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from facekd.errors import TooLarge, Unreadable, UsageError
from facekd.files import open_regular
from facekd.gallery.entries import Contract
from facekd.gallery.names import clean_name, shown
from facekd.gallery.template import Template, checksum, pack, unpack

FORMAT = "facekd gallery archive"
VERSION = 1
#: limits: values of an embedding, bytes of a line, lines of a kind
MAX_DIM = 8192
MAX_LINE = 64 * 1024
MAX_PEOPLE = 1_000_000
MAX_TEMPLATES = 10_000_000
MAX_REMOVED = 10_000_000
#: templates of one person that are in memory at a time
BLOCK = 256

_UID = re.compile("[0-9a-f]{32}")
_SHA256 = re.compile("[0-9a-f]{64}")
_TEXT_LIMIT = 200


@dataclass(frozen=True)
class ArchiveHeader:
    """The first line of an archive."""

    contract: Contract
    people: int
    templates: int


@dataclass(frozen=True)
class ArchivedTemplates:
    """Some of a person's templates, at most `BLOCK`; those of one person are consecutive."""

    uid: str
    name: str
    templates: tuple[Template, ...]


@dataclass(frozen=True)
class ArchivedRemoval:
    """A person who was removed, or merged into the person with the uid ``merged_into``."""

    uid: str
    date: str
    merged_into: str | None


@dataclass(frozen=True)
class ArchivedPhotoRemoval:
    """A photo that was removed from the person with a uid; for ``seal`` see `tombstones`."""

    seal: str
    uid: str
    date: str


Archived = ArchivedTemplates | ArchivedRemoval | ArchivedPhotoRemoval


class ArchiveWriter:
    """Writes the lines of an archive to an open file."""

    def __init__(self, file: BinaryIO, header: ArchiveHeader) -> None:
        self._file = file
        self._contract = header.contract
        self._sum = hashlib.sha256()
        self._put({"format": FORMAT, "version": VERSION, **asdict(header)})

    def person(self, uid: str, name: str, templates: Iterable[Template]) -> None:
        self._put({"person": uid, "name": name})
        space, dim = self._contract.space, self._contract.dim
        for template in templates:
            blob = pack(template.embedding)
            self._put({
                "template": template.photo, "quality": template.quality, "enrolled": template.enrolled,
                "embedding": base64.b64encode(blob).decode(),
                "checksum": checksum(space, dim, template.photo, blob),
            })  # fmt: skip

    def removal(self, removed: ArchivedRemoval) -> None:
        self._put({"removed": removed.uid, "date": removed.date, "merged_into": removed.merged_into})

    def photo_removal(self, removed: ArchivedPhotoRemoval) -> None:
        self._put({"removed_photo": removed.seal, "of": removed.uid, "date": removed.date})

    def end(self) -> None:
        self._put({"sha256": self._sum.hexdigest()})

    def _put(self, document: dict[str, Any]) -> None:
        line = json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        self._sum.update(line)
        self._file.write(line)


class ArchiveReader:
    """Reads the archive at ``path``: the ``header`` at once, the rest as `entries` is iterated.

    Raises `Unreadable` if it is not a complete archive or contains something that a gallery may not,
    `TooLarge` if it exceeds the limits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_regular(path)
        self._line = 0
        self._sum = hashlib.sha256()
        try:
            self.header = self._read_header()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def entries(self) -> Iterator[Archived]:
        """All entries, each checked. Counts and the checksum of the whole file are checked after the last
        entry: if that fails, what was imported must be undone."""
        check = _Whole(self)
        uid = name = ""
        block: list[Template] = []
        while True:
            before = self._sum.hexdigest()
            line = self._next()
            if block and ("template" not in line or len(block) == BLOCK):
                yield ArchivedTemplates(uid, name, tuple(block))
                block = []
            match line:
                case {"person": _}:
                    uid, name = self._person(line)
                    check.person(uid, name)
                case {"template": _} if uid:
                    block.append(self._template(line))
                    check.template(block[-1].photo)
                case {"removed": _}:
                    uid, removal = "", self._removal(line)
                    check.removed(removal.uid)
                    yield removal
                case {"removed_photo": _}:
                    uid, photo_removal = "", self._photo_removal(line)
                    check.removed(photo_removal.seal)
                    yield photo_removal
                case {"sha256": told}:
                    self._keys(line, "sha256")
                    check.end(told == before)
                    return
                case _:
                    self.refuse("is not a line of an archive")

    def refuse(self, what: str) -> NoReturn:
        raise Unreadable(f"{self.path}: line {self._line} {what}", "Export the gallery again.")

    def at_end(self) -> bool:
        return not self._file.read(1)

    def _read_header(self) -> ArchiveHeader:
        line = self._next()
        if line.get("format") != FORMAT:
            raise Unreadable(f"{self.path}: not an archive of a facekd gallery")
        if line.get("version") != VERSION:
            raise Unreadable(
                f"{self.path}: its archive version is not {VERSION}, the one that this facekd reads",
                "Use the version of facekd that wrote it, or a newer one.",
            )
        self._keys(line, "format", "version", "contract", "people", "templates")
        for what, count, limit in (
            ("people", line["people"], MAX_PEOPLE), ("templates", line["templates"], MAX_TEMPLATES),
        ):  # fmt: skip
            if type(count) is not int or count < 0:
                self.refuse(f"does not state the number of {what}")
            if count > limit:
                raise TooLarge(f"{self.path}: {count:,} {what}, the limit is {limit:,}")
        return ArchiveHeader(self._contract(line["contract"]), line["people"], line["templates"])

    def _contract(self, given: Any) -> Contract:
        names = [field.name for field in fields(Contract)]
        if not isinstance(given, dict):
            self.refuse("has no contract")
        self._keys(given, *names)
        contract = Contract(**given)
        if type(contract.dim) is not int or not 1 <= contract.dim <= MAX_DIM:
            self.refuse(f"has no dim from 1 to {MAX_DIM}")
        for text in (value for value in astuple(contract) if value is not contract.dim):
            if not isinstance(text, str) or len(text) > _TEXT_LIMIT or not text.isprintable():
                self.refuse("has a contract that is not text")
        if not _SHA256.fullmatch(contract.space):
            self.refuse("names no space")
        return contract

    def _person(self, line: dict[str, Any]) -> tuple[str, str]:
        self._keys(line, "person", "name")
        if not isinstance(line["name"], str):
            self.refuse("names nobody")
        try:
            return self._text(line["person"], _UID), clean_name(line["name"])
        except UsageError as error:
            self.refuse(f"has an invalid name: {error.cause}")

    def _template(self, line: dict[str, Any]) -> Template:
        self._keys(line, "template", "quality", "enrolled", "embedding", "checksum")
        contract, photo = self.header.contract, self._text(line["template"], _SHA256)
        try:
            blob = base64.b64decode(line["embedding"], validate=True)
        except (TypeError, ValueError, binascii.Error):
            self.refuse("has no embedding in base64")
        embedding = unpack(blob, contract.dim)
        if embedding is None:
            self.refuse(f"has no embedding of {contract.dim} values and unit length")
        if line["checksum"] != checksum(contract.space, contract.dim, photo, blob):
            self.refuse("is damaged: its checksum does not match")
        quality = line["quality"]
        if type(quality) not in (int, float) or not 0 <= quality <= 1:
            self.refuse("has no quality from 0 to 1")
        return Template(embedding, photo, float(quality), self._date(line["enrolled"]))

    def _removal(self, line: dict[str, Any]) -> ArchivedRemoval:
        self._keys(line, "removed", "date", "merged_into")
        into = line["merged_into"]
        return ArchivedRemoval(
            self._text(line["removed"], _UID),
            self._date(line["date"]),
            None if into is None else self._text(into, _UID),
        )

    def _photo_removal(self, line: dict[str, Any]) -> ArchivedPhotoRemoval:
        self._keys(line, "removed_photo", "of", "date")
        seal, uid = self._text(line["removed_photo"], _SHA256), self._text(line["of"], _UID)
        return ArchivedPhotoRemoval(seal, uid, self._date(line["date"]))

    def _next(self) -> dict[str, Any]:
        """The next line, which must be a JSON object."""
        self._line += 1
        raw = self._file.readline(MAX_LINE + 1)
        if len(raw) > MAX_LINE:
            raise TooLarge(f"{self.path}: line {self._line} is longer than {MAX_LINE:,} bytes")
        if not raw.endswith(b"\n"):
            self.refuse("is cut off: the archive is incomplete" if self._line > 1 else "is not JSON")
        self._sum.update(raw)
        try:
            document = json.loads(raw.decode(), parse_constant=_no_constant, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            self.refuse("is not JSON")
        if not isinstance(document, dict):
            self.refuse("is not a line of an archive")
        return document

    def _keys(self, line: dict[str, Any], *wanted: str) -> None:
        if set(line) != set(wanted):
            self.refuse(f"does not have the keys {', '.join(wanted)}")

    def _text(self, value: Any, pattern: re.Pattern[str]) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.refuse("has a value that is not in hexadecimal digits")
        return value

    def _date(self, value: Any) -> str:
        try:
            if isinstance(value, str) and value.isascii() and len(value) <= 40:
                datetime.fromisoformat(value)
                return value
        except ValueError:
            pass
        return self.refuse("has an invalid date")


class _Whole:
    """Checks of the archive as a whole: no uid, name or photo of a person occurs twice, and the counts are
    those of the header."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader
        self._uids: set[bytes] = set()
        self._names: set[str] = set()
        self._photos: set[bytes] = set()
        self._removed: set[bytes] = set()
        self._people = 0
        self._templates = 0

    def person(self, uid: str, name: str) -> None:
        self._no_empty_person()
        self._people += 1
        self._count("people", self._people, self._reader.header.people)
        if bytes.fromhex(uid) in self._uids or name in self._names:
            self._reader.refuse(f"repeats a person ('{shown(name)}')")
        self._uids.add(bytes.fromhex(uid))
        self._names.add(name)
        self._photos = set()

    def template(self, photo: str) -> None:
        self._templates += 1
        self._count("templates", self._templates, self._reader.header.templates)
        if bytes.fromhex(photo) in self._photos:
            self._reader.refuse("repeats a photo of the person")
        self._photos.add(bytes.fromhex(photo))

    def removed(self, number: str) -> None:
        self._no_empty_person()
        if bytes.fromhex(number) in self._removed or bytes.fromhex(number) in self._uids:
            self._reader.refuse("removes something that is in the archive, or was removed before")
        self._removed.add(bytes.fromhex(number))
        if len(self._removed) > MAX_REMOVED:
            raise TooLarge(f"{self._reader.path}: more than {MAX_REMOVED:,} removals")

    def end(self, is_sum_right: bool) -> None:
        self._no_empty_person()
        told = self._reader.header
        if (self._people, self._templates) != (told.people, told.templates):
            self._reader.refuse(
                "is the last, and there are fewer people or templates than the first line says"
            )
        if not is_sum_right:
            self._reader.refuse("is not the checksum of the lines before it")
        if not self._reader.at_end():
            self._reader.refuse("is the last, and something follows it")

    def _no_empty_person(self) -> None:
        if self._people and not self._photos:
            self._reader.refuse("follows a person without a template")

    def _count(self, what: str, count: int, told: int) -> None:
        if count > told:
            self._reader.refuse(f"exceeds the number of {what} in the first line")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found
