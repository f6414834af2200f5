"""RecordIO packs (`.rec` with `.idx`), the format in which MS1M, Glint360K and WebFace are shared.

A record is ``magic, kind and length, bytes``, padded to four bytes. Where the bytes contain the magic
at a multiple of four, they are split there, and the parts are joined again on reading
(dmlc-core, "recordio.h"). An image's bytes begin with ``flag, label, id, id`` (``IfQQ``); a flag
above 0 is the number of float labels that follow instead. In insightface's packs, record 0 holds two
labels: the key after the last image, and the key after the last identity; the records of identities
list the keys of their images and are not needed to read them.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from facekd.errors import InputOutput, Unreadable
from facekd.files import is_utf8, open_regular, read_text
from facekd.preprocess.sources.base import check_bytes, stamp_of

_MAGIC = 0xCED7230A
_MARK = struct.pack("<I", _MAGIC)
_HEAD = struct.Struct("<II")
_LABEL = struct.Struct("<IfQQ")
#: the upper three bits of a record's second word state which part of a split record it is
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_LENGTH = (1 << 29) - 1


class Image(NamedTuple):
    """One image to write: its encoded bytes and its identity, `None` if unknown."""

    packed: bytes
    identity: str | None


class RecordSource:
    """The images of a RecordIO pack, named ``IDENTITY/KEY.jpg``, read in place.

    Identities are the numbers in the pack, or the names in ``NAME.identities.tsv`` beside it, if
    `write_records` wrote one. Images of identity -1 have no folder. The index is read from
    ``NAME.idx``; without one, the whole pack is scanned once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner: int | None = None
        self._map: mmap.mmap | None = None
        self._places: dict[int, int] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_owner": None, "_map": None, "_places": self._places}

    def names(self) -> list[str]:
        """All image names, in the order of their keys."""
        self._index()
        known = _identities(self.path)
        found = []
        for key in self._image_keys():
            label = self._label(key)
            folder = "" if label < 0 else known.get(int(label), f"{int(label):07d}") + "/"
            found.append(f"{folder}{key:09d}.jpg")
        return found

    def read(self, name: str) -> bytes:
        self._index()
        try:
            key = int(Path(name).stem)
            whole = self._record(key)
        except (KeyError, ValueError) as error:
            raise Unreadable(f"{self.path}/{name}: not in this pack") from error
        return whole[self._label_bytes(whole, key) :]

    def stamp(self, name: str) -> str:
        """The stamp of the whole pack."""
        return stamp_of(self.path)

    def _index(self) -> None:
        if self._map is None or self._owner != os.getpid():
            try:
                with open_regular(self.path) as file:
                    self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise Unreadable(f"{self.path}: an empty file") from error
            except OSError as error:
                raise InputOutput(f"{self.path}: {error.strerror}") from error
            self._owner = os.getpid()
        if not self._places:
            self._places = _read_index(self.path.with_suffix(".idx")) or dict(enumerate(self._walk()))
        if not self._places:
            raise Unreadable(f"{self.path}: contains no complete record")

    def _image_keys(self) -> list[int]:
        """Keys of images; in insightface's packs those between record 0 and the identities."""
        first = min(self._places)
        whole = self._record(first)
        if len(whole) == self._label_bytes(whole, first):
            end = int(self._label(first))
            return [key for key in sorted(self._places) if first < key < end]
        return sorted(self._places)

    def _label(self, key: int) -> float:
        """The first label of a record; only the first of its bytes are read."""
        _, start, end = self._part(self._places[key])
        head = self._bytes(start, min(end, start + _LABEL.size + 4))
        if len(head) < _LABEL.size + 4:
            head = self._record(key)  # short, or split within the head
            self._label_bytes(head, key)
        flag, label, _, _ = _LABEL.unpack_from(head)
        found = float(struct.unpack_from("<f", head, _LABEL.size)[0] if flag else label)
        if not math.isfinite(found):
            raise Unreadable(f"{self.path}: the label of record {key} is not a number")
        return found

    def _label_bytes(self, whole: bytes, key: int) -> int:
        """The offset of the image in a record's bytes."""
        if len(whole) >= _LABEL.size:
            flag = _LABEL.unpack_from(whole)[0]
            size: int = _LABEL.size + 4 * flag
            if size <= len(whole):
                return size
        raise Unreadable(f"{self.path}: record {key} is not an image record")

    def _record(self, key: int) -> bytes:
        parts, place = [], self._places[key]
        while True:
            kind, start, end = self._part(place)
            parts.append(self._bytes(start, end))
            if kind in (_WHOLE, _LAST):
                return _MARK.join(parts)
            place = _padded(end)

    def _walk(self) -> Iterator[int]:
        """The offsets of all records, in order."""
        assert self._map is not None
        place, begun = 0, 0
        while place < len(self._map):
            kind, _, end = self._part(place)
            begun = place if kind in (_WHOLE, _FIRST) else begun
            if kind in (_WHOLE, _LAST):
                yield begun
            place = _padded(end)

    def _part(self, place: int) -> tuple[int, int, int]:
        """Kind of the part at the offset ``place``, and begin and end of its bytes."""
        magic, word = _HEAD.unpack(self._bytes(place, place + _HEAD.size))
        if magic != _MAGIC:
            raise Unreadable(f"{self.path}: no record begins at byte {place:,}")
        start = place + _HEAD.size
        check_bytes(word & _LENGTH, str(self.path))
        return word >> 29, start, start + (word & _LENGTH)

    def _bytes(self, start: int, end: int) -> bytes:
        assert self._map is not None
        found = self._map[start:end]
        if len(found) < end - start:
            raise Unreadable(f"{self.path}: cut short at byte {len(self._map):,}")
        return found


def write_records(path: Path, images: Iterable[Image]) -> int:
    """Write ``images`` as ``path`` (`.rec`) with its `.idx`; return their number.

    Images of one identity must be consecutive, as in `Source.names`. Identities are numbered in
    order, and ``NAME.identities.tsv`` holds their names. Records 0 and those of the identities are
    written as insightface's tools expect them.

    Raises `Unreadable` for an identity's name that cannot be written on one line of text.
    """
    places: list[tuple[int, int]] = [(0, 0)]
    people: dict[str, list[int]] = {}
    count = 0
    with path.open("wb") as file:
        _append(file, _labelled((0.0, 0.0), 0))  # overwritten at the end, when the counts are known
        for count, image in enumerate(images, start=1):
            label = -1
            if image.identity is not None:
                _check_name(image.identity)
                keys = people.setdefault(image.identity, [len(people), count, count])
                label, keys[2] = keys[0], count
            places.append((count, file.tell()))
            _append(file, _LABEL.pack(0, float(label), count, 0) + image.packed)
        for label, first, last in people.values():
            key = count + 1 + label
            places.append((key, file.tell()))
            _append(file, _labelled((float(first), float(last + 1)), key))
        file.seek(0)
        _append(file, _labelled((float(count + 1), float(count + 1 + len(people))), 0))
    path.with_suffix(".idx").write_text("".join(f"{key}\t{place}\n" for key, place in places))
    names = "".join(f"{label}\t{name}\n" for label, name in enumerate(people))
    _names_file(path).write_text(names, encoding="utf-8")
    return count


def _check_name(identity: str) -> None:
    """Refuse a name with a line break, which would shift the names after it when the pack is read."""
    if identity.splitlines() != [identity] or not is_utf8(identity):
        raise Unreadable(
            f"the name {identity!a} cannot be written into a RecordIO pack: it is not one line of text",
            "Rename the folder.",
        )


def _append(file: BinaryIO, whole: bytes) -> None:
    """Append one record, split where its bytes contain the magic at a multiple of four."""
    cuts = [at for at in range(0, len(whole) - 3, 4) if whole[at : at + 4] == _MARK] if _MARK in whole else []
    starts, ends = [0, *(at + 4 for at in cuts)], [*cuts, len(whole)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        kind = _MIDDLE
        if number == len(cuts):
            kind = _LAST if cuts else _WHOLE
        elif number == 0:
            kind = _FIRST
        file.write(_HEAD.pack(_MAGIC, kind << 29 | end - start))
        file.write(whole[start:end].ljust(_padded(end - start), b"\0"))


def _labelled(labels: tuple[float, ...], key: int) -> bytes:
    """A record of labels without an image."""
    return _LABEL.pack(len(labels), 0.0, key, 0) + struct.pack(f"<{len(labels)}f", *labels)


def _padded(size: int) -> int:
    return (size + 3) // 4 * 4


def _read_index(path: Path) -> dict[int, int]:
    """Offsets by key; empty if there is no index."""
    if not path.is_file():
        return {}
    try:
        rows = (line.split() for line in read_text(path).splitlines())
        return {int(key): int(place) for key, place in rows}
    except ValueError as error:
        raise Unreadable(f"{path}: not an index of a RecordIO pack ({error})") from error


def _names_file(path: Path) -> Path:
    return path.with_suffix(".identities.tsv")


def _identities(path: Path) -> dict[int, str]:
    """Names of identities by number, if `write_records` wrote them."""
    file = _names_file(path)
    if not file.is_file():
        return {}
    try:
        rows = (line.split("\t", 1) for line in read_text(file).splitlines())
        return {int(number): name for number, name in rows}
    except ValueError as error:
        raise Unreadable(f"{file}: not a list of identities ({error})") from error
