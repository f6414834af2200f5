"""Copy a gallery to another place: a file, or a database.

The copy holds people with their numbers and uids, templates, tombstones and the audit. Repeating an
interrupted copy continues it: what is already there must be what the gallery holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from facekd.errors import UsageError
from facekd.gallery import encryption
from facekd.gallery.engine import CONTRACT, Engine, make_gallery, open_engine
from facekd.gallery.entries import Contract
from facekd.gallery.gallery_file import GalleryFile
from facekd.gallery.keys import key_in_use
from facekd.gallery.names import shown
from facekd.gallery.place import Place
from facekd.gallery.records import GalleryRecords
from facekd.gallery.template import now
from facekd.gallery.template_rows import Owner, TemplateRows

#: people, or other rows, copied in one transaction
_PEOPLE, _ROWS = 200, 5000
_COLUMNS = "photo, embedding, quality, enrolled, checksum"

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Copied:
    """The contents of the copy: ``people``, of whom ``present`` were there from an interrupted copy, their
    ``templates``, and the tombstones of ``removed_people`` and ``removed_photos``."""

    people: int = 0
    present: int = 0
    templates: int = 0
    removed_people: int = 0
    removed_photos: int = 0


def copy_gallery(
    source: Place, target: Place, advance: Callable[[int], None] = lambda people: None
) -> Copied:
    """Copy a snapshot of the gallery at ``source`` to ``target``, where there must be no gallery, or a part
    of a copy of this one. ``advance`` receives the number of people copied.

    Every template is checked against its checksum when it is read, and compared after it is written. A
    gallery of an older schema is migrated first. Raises the `UsageError` of `check_copyable`, and one if the
    target holds something else; `Misfit` if it belongs to another space; `Unreadable` if a template is
    damaged.
    """
    check_copyable(source, target)
    contract = _contract_of(source)
    make_gallery(target, lambda db: db.execute(CONTRACT, (*astuple(contract), now())))
    GalleryRecords(target, contract).close()  # of the same space
    with (
        closing(open_engine(source, read_only=True)) as old,
        closing(open_engine(target, read_only=False)) as new,
        old.snapshot(),
    ):
        return _Copy(old, new, contract).make(advance)


def check_copyable(source: Place, target: Place) -> None:
    """Raise `UsageError` if the two places are the same, if the gallery at ``source`` is encrypted, or if a
    key is given and one of them is a database: the copy would not be encrypted."""
    if source == target:
        raise UsageError(f"{source} cannot be copied to itself", "Choose another place.")
    for place in (source, target):
        encryption.check_key(place, key_in_use())
    if isinstance(source, Path) and _is_encrypted(source):
        raise UsageError(
            f"{source} is encrypted, and a copy would not be",
            "Decrypt it first: facekd gallery decrypt; or copy its file, encrypted: facekd gallery backup",
        )


def _is_encrypted(path: Path) -> bool:
    with closing(GalleryFile(path, read_only=True)) as file, file.reading():
        return encryption.stated_in(file.db, path) is not None


def _contract_of(source: Place) -> Contract:
    with GalleryRecords(source, read_only=True) as records:
        found, latest = records.schema()
        contract = records.contract
    if found != latest:
        GalleryRecords(source).close()
    return contract


class _Copy:
    def __init__(self, old: Engine, new: Engine, contract: Contract) -> None:
        self._old, self._new = old, new
        self._stored = TemplateRows(contract, new.schema)

    def make(self, advance: Callable[[int], None]) -> Copied:
        copied = Copied(
            removed_people=self._tombstones("removed_people", "uid, date, merged_into"),
            removed_photos=self._tombstones("removed_photos", "seal, person, date"),
        )
        after = 0
        while people := self._people(self._old, f"id > {after} ORDER BY id LIMIT {_PEOPLE}"):
            up_to = people[-1][0]
            present, templates = self._block(people, after, up_to)
            copied = replace(
                copied,
                people=copied.people + len(people),
                present=copied.present + present,
                templates=copied.templates + templates,
            )
            after = up_to
            advance(len(people))
        if self._people(self._new, f"id > {after} LIMIT 1"):
            raise self._differs("people who are not in the gallery")
        self._audit("audit", "date, action, person, templates, asked_by")
        self._audit("audit_reads", "date, action, person, result, reason, model, space, fmr, fpir, asked_by")
        self._new.number_after(self._old.last_number())
        return copied

    def _block(self, people: list[Row], after: int, up_to: int) -> tuple[int, int]:
        """Copy ``people``, all those with a number above ``after`` and at most ``up_to``. Returns how many
        were there already, and how many templates they all have."""
        there = self._people(self._new, f"id > {after} AND id <= {up_to} ORDER BY id")
        if not set(there) <= set(people):
            raise self._differs("people who are not in the gallery, or under other names")
        wanted = self._templates(self._old, after, up_to)
        owners = {number: Owner(uid, name) for number, name, uid in people}
        missing = [row for row in people if row not in set(there)]
        lacking = {number for number, _, _ in missing}
        for number, *row in wanted:
            if self._stored.unpacked(owners[number], *row) is None:
                name = shown(owners[number].name)
                raise self._old.damaged(f"a template of '{name}' cannot be read")
        if missing:
            with self._new.transaction():
                self._new.db.executemany("INSERT INTO people (id, name, uid) VALUES (?, ?, ?)", missing)
                self._new.db.executemany(
                    f"INSERT INTO templates (person, space, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(row[0], self._stored.space, *row[1:]) for row in wanted if row[0] in lacking],
                )
        if self._templates(self._new, after, up_to) != wanted:
            raise self._differs("other templates")
        return len(there), len(wanted)

    def _people(self, engine: Engine, which: str) -> list[Row]:
        return engine.rows(f"SELECT id, name, uid FROM people WHERE {which}", types=(int, str, str))

    def _templates(self, engine: Engine, after: int, up_to: int) -> list[Row]:
        """The templates of the people with these numbers, in the order of enrolment."""
        return engine.rows(
            f"SELECT person, {_COLUMNS} FROM templates WHERE person > ? AND person <= ? ORDER BY person, id",
            after, up_to,
        )  # fmt: skip

    def _tombstones(self, table: str, columns: str) -> int:
        """Copy the missing rows; return the number of all rows."""
        places = ", ".join("?" for _ in columns.split(","))
        insert = f"INSERT INTO {table} ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING"
        count = 0
        for rows in _blocks(self._old.stream(f"SELECT {columns} FROM {table}")):
            count += len(rows)
            with self._new.transaction():
                self._new.db.executemany(insert, rows)
        if self._new.rows(f"SELECT count(*) FROM {table}") != [(count,)]:
            raise self._differs("other removals")
        return count

    def _audit(self, table: str, columns: str) -> None:
        query = f"SELECT {columns} FROM {table} ORDER BY id"
        there = self._new.rows(f"SELECT count(*) FROM {table}")[0][0]
        entries = self._old.stream(query)
        before = list(islice(entries, there))
        if before != self._new.rows(query):
            raise self._differs("another audit")
        places = ", ".join("?" for _ in columns.split(","))
        for rows in _blocks(entries):
            with self._new.transaction():
                self._new.db.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)

    def _differs(self, what: str) -> UsageError:
        return UsageError(
            f"{self._new.path} is not part of a copy: it holds {what}",
            "One of them has been changed since: copy to a place without a gallery.",
        )


def _blocks(rows: Iterator[Row]) -> Iterator[Sequence[Row]]:
    while some := list(islice(rows, _ROWS)):
        yield some
