"""A gallery as it is in another place: a file, or a database.

What goes along: people with their numbers and uids, templates, tombstones and audit. A copy that was cut
short is continued by making it again: whatever is there already must be what the gallery holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from facekd.errors import UsageError
from facekd.gallery import encryption
from facekd.gallery.engine import Engine, Row, open_engine
from facekd.gallery.entries import Contract
from facekd.gallery.keys import NO_KEY, KeySource, key_in_use
from facekd.gallery.names import shown
from facekd.gallery.place import Place
from facekd.gallery.records import GalleryRecords
from facekd.gallery.template import pack
from facekd.gallery.template_rows import Owner, TemplateRows

#: people, and other rows, that are copied in one transaction
_PEOPLE, _ROWS = 200, 5000
_COLUMNS = "photo, embedding, quality, enrolled, checksum"


@dataclass(frozen=True)
class Copied:
    """What the copy holds: ``people``, of whom ``present`` were there from a copy that was cut short, their
    ``templates``, and the tombstones of ``removed_people`` and ``removed_photos``; ``key_id`` of the key by
    which it is encrypted."""

    people: int = 0
    present: int = 0
    templates: int = 0
    removed_people: int = 0
    removed_photos: int = 0
    key_id: str | None = None


@dataclass(frozen=True)
class CopyKeys:
    """How a copy is encrypted: by the key ``target``, else as the gallery is, by the same key; an encrypted
    gallery is copied in the clear only if ``plain`` says so. ``source`` is the gallery's key, else that of
    `key_in_use`."""

    source: KeySource | None = None
    target: KeySource | None = None
    plain: bool = False


def copy_gallery(
    source: Place,
    target: Place,
    advance: Callable[[int], None] = lambda people: None,
    keys: CopyKeys = CopyKeys(),
) -> Copied:
    """Copy the gallery at ``source``, as it is at one moment, to ``target``, where there is none, or a part
    of one that was copied from it. ``advance`` is told how many people were copied.

    Every template is held against its checksum when it is read, and compared when it was written. A gallery
    of an older schema is migrated first. Raises `UsageError` as `check_copyable` does and where the target
    holds something else, `Misfit` where it is of another space, `Unreadable` where a template is damaged; for
    the keys of either what `GalleryRecords` does.
    """
    check_copyable(source, target, keys)
    key = key_in_use(keys.source)
    contract, is_encrypted = _look_at(source, key)
    as_source = key if is_encrypted and not keys.plain else None
    key_of_copy = keys.target or as_source
    GalleryRecords(target, contract, create=True, key=key_of_copy or NO_KEY).close()
    with (
        closing(open_engine(source, read_only=True)) as old,
        closing(open_engine(target, read_only=False)) as new,
        old.snapshot(),
    ):
        return _Copy(_Side(old, contract, key), _Side(new, contract, key_of_copy)).make(advance)


def check_copyable(source: Place, target: Place, keys: CopyKeys = CopyKeys()) -> None:
    """Raise `UsageError` where the two are one, or where a copy in the clear is to have a key."""
    if source == target:
        raise UsageError(f"{source} cannot be copied to itself", "Name another place.")
    if keys.plain and keys.target is not None:
        raise UsageError(f"a copy in the clear has no key, but one is given ({keys.target.told})")


def _look_at(source: Place, key: KeySource | None) -> tuple[Contract, bool]:
    """The contract of the gallery, which is led to the latest schema, and whether it is encrypted."""
    with GalleryRecords(source, read_only=True, key=key) as records:
        found, latest = records.schema()
        contract, is_encrypted = records.contract, records.encryption is not None
    if found != latest:
        GalleryRecords(source, key=key).close()
    return contract, is_encrypted


class _Side:
    """The gallery, or its copy, as it was encrypted when this was made."""

    def __init__(self, engine: Engine, contract: Contract, key: KeySource | None) -> None:
        self.engine, self._contract = engine, contract
        self.stated = encryption.stated_in(engine.db, engine.path, engine.schema)
        self._stored = TemplateRows(
            contract, engine.schema, encryption.cipher_of(self.stated, engine.path, key)
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Raises `InputOutput` where somebody changed meanwhile how it is encrypted."""
        with self.engine.transaction():
            encryption.check_unchanged(self.engine, self.stated)
            yield

    def people(self, which: str) -> list[Row]:
        """Number, name and uid."""
        return self.engine.rows(f"SELECT id, name, uid FROM people WHERE {which}", types=(int, str, str))

    def templates(self, people: list[Row]) -> list[Row]:
        """Of these ``people``, by number, what `add` takes. Raises `Unreadable` where one is not what was
        written."""
        owners = {number: Owner(uid, name) for number, name, uid in people}
        found = []
        for number, *row in self.engine.rows(
            f"SELECT person, {_COLUMNS} FROM templates WHERE person >= ? AND person <= ? ORDER BY person, id",
            min(owners, default=0), max(owners, default=-1),
        ):  # fmt: skip
            owner = owners.get(number)
            if owner is None:
                raise self.engine.damaged("a template belongs to nobody")
            template = self._stored.unpacked(owner, *row)
            if template is None:
                raise self.engine.damaged(f"a template of '{shown(owner.name)}' cannot be read")
            clear = pack(template.embedding)
            found.append((number, template.photo, clear, template.quality, template.enrolled))
        return found

    def add(self, people: list[Row], templates: list[Row]) -> None:
        owners = {number: Owner(uid, name) for number, name, uid in people}
        rows = []
        for number, photo, clear, quality, enrolled in templates:
            blob, seal = self._stored.written(owners[number], photo, clear, quality, enrolled)
            rows.append((number, self._stored.space, photo, blob, quality, enrolled, seal))
        with self.transaction():
            self.engine.db.executemany("INSERT INTO people (id, name, uid) VALUES (?, ?, ?)", people)
            self.engine.db.executemany(
                f"INSERT INTO templates (person, space, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )


class _Copy:
    def __init__(self, old: _Side, new: _Side) -> None:
        self._of, self._to = old, new
        self._old, self._new = old.engine, new.engine

    def make(self, advance: Callable[[int], None]) -> Copied:
        copied = Copied(
            removed_people=self._tombstones("removed_people", "uid, date, merged_into"),
            removed_photos=self._tombstones("removed_photos", "seal, person, date"),
            key_id=self._to.stated.key_id if self._to.stated else None,
        )
        after = 0
        while people := self._of.people(f"id > {after} ORDER BY id LIMIT {_PEOPLE}"):
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
        if self._to.people(f"id > {after} LIMIT 1"):
            raise self._differs("people who are not in the gallery")
        self._audit("audit", "date, action, person, templates, asked_by")
        self._audit("audit_reads", "date, action, person, result, reason, model, space, fmr, fpir, asked_by")
        self._new.number_after(self._old.last_number())
        return copied

    def _block(self, people: list[Row], after: int, up_to: int) -> tuple[int, int]:
        """Copy ``people``, all whose number lies above ``after`` and not above ``up_to``; how many were
        there, and how many templates they have."""
        there = self._to.people(f"id > {after} AND id <= {up_to} ORDER BY id")
        if not set(there) <= set(people):
            raise self._differs("people who are not in the gallery, or under other names")
        wanted = self._of.templates(people)
        missing = [row for row in people if row not in set(there)]
        if missing:
            lacking = {number for number, _, _ in missing}
            self._to.add(missing, [row for row in wanted if row[0] in lacking])
        if self._to.templates(people) != wanted:
            raise self._differs("other templates")
        return len(there), len(wanted)

    def _tombstones(self, table: str, columns: str) -> int:
        """Copy what is not there; how many there are."""
        places = ", ".join("?" for _ in columns.split(","))
        insert = f"INSERT INTO {table} ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING"
        count = 0
        for rows in _blocks(self._old.stream(f"SELECT {columns} FROM {table}")):
            count += len(rows)
            with self._to.transaction():
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
            with self._to.transaction():
                self._new.db.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)

    def _differs(self, what: str) -> UsageError:
        return UsageError(
            f"{self._new.path} is no part of a copy: it holds {what}",
            "One of the two was changed since: copy to a place where there is no gallery.",
        )


def _blocks(rows: Iterator[Row]) -> Iterator[Sequence[Row]]:
    while some := list(islice(rows, _ROWS)):
        yield some
