"""Copy a gallery to another place: a file, or a database.

The copy holds people with their numbers and uids, templates, tombstones and the audit. Repeating an
interrupted copy continues it: what is already there must be what the gallery holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from facekd.errors import UsageError
from facekd.gallery import encryption
from facekd.gallery.encryption import Encryption
from facekd.gallery.engine import Engine, Row, open_engine
from facekd.gallery.entries import Contract
from facekd.gallery.keys import NO_KEY, KeySource, key_in_use
from facekd.gallery.names import shown
from facekd.gallery.place import Place
from facekd.gallery.records import GalleryRecords
from facekd.gallery.template import pack
from facekd.gallery.template_rows import Owner, TemplateRows

#: people, or other rows, copied in one transaction
_PEOPLE, _ROWS = 200, 5000
_COLUMNS = "photo, embedding, quality, enrolled, checksum"


@dataclass(frozen=True)
class Copied:
    """What the copy holds: ``people``, of whom ``present`` were there from an interrupted copy, their
    ``templates``, and the tombstones of ``removed_people`` and ``removed_photos``. ``key_id`` identifies the
    key that encrypts it."""

    people: int = 0
    present: int = 0
    templates: int = 0
    removed_people: int = 0
    removed_photos: int = 0
    key_id: str | None = None


@dataclass(frozen=True)
class CopyKeys:
    """How a copy is encrypted: with the key ``target``, by default with the gallery's own if that is
    encrypted; an encrypted gallery is copied in the clear only if ``plain`` is set. An encrypted copy has
    encrypted names if ``names`` is set, or if the gallery has them. ``source`` is the gallery's key, by
    default that of `key_in_use`."""

    source: KeySource | None = None
    target: KeySource | None = None
    plain: bool = False
    names: bool = False


def copy_gallery(
    source: Place,
    target: Place,
    advance: Callable[[int], None] = lambda people: None,
    keys: CopyKeys = CopyKeys(),
) -> Copied:
    """Copy a snapshot of the gallery at ``source`` to ``target``, where there must be no gallery, or an
    incomplete copy of this one. ``advance`` receives the number of people copied.

    The checksum of every template is checked when it is read, and the copy is compared after it was written.
    A gallery of an older schema is migrated first. Raises `UsageError` as `check_copyable` does and if the
    target holds something else, `Misfit` if it is of another space, `Unreadable` if a template is damaged;
    for both keys as `GalleryRecords` does.
    """
    check_copyable(source, target, keys)
    key = key_in_use(keys.source)
    contract, stated = _look_at(source, key)
    as_source = key if stated and not keys.plain else None
    key_of_copy = keys.target or as_source
    names = not keys.plain and (keys.names or (stated is not None and stated.names))
    _make(target, contract, key_of_copy, names)
    with (
        closing(open_engine(source, read_only=True)) as old,
        closing(open_engine(target, read_only=False)) as new,
        old.snapshot(),
    ):
        return _Copy(_Side(old, contract, key), _Side(new, contract, key_of_copy)).make(advance)


def check_copyable(source: Place, target: Place, keys: CopyKeys = CopyKeys()) -> None:
    """Raise `UsageError` if the two are the same, or if a copy in the clear is to have a key or encrypted
    names."""
    if source == target:
        raise UsageError(f"{source} cannot be copied to itself", "Name another place.")
    if keys.plain and keys.target is not None:
        raise UsageError(f"an unencrypted copy has no key, but one is given ({keys.target.told})")
    if keys.plain and keys.names:
        raise UsageError("an unencrypted copy has no encrypted names")


def _look_at(source: Place, key: KeySource | None) -> tuple[Contract, Encryption | None]:
    """The gallery's contract, and how it is encrypted. Opening it migrates it to the latest schema."""
    with GalleryRecords(source, read_only=True, key=key) as records:
        found, latest = records.schema()
        contract, stated = records.contract, records.encryption
    if found != latest:
        GalleryRecords(source, key=key).close()
    return contract, stated


def _make(target: Place, contract: Contract, key: KeySource | None, names: bool) -> None:
    """Create the target, or check that the incomplete copy there is encrypted as requested."""
    if names and key is None:
        raise UsageError(
            "names are encrypted only together with the templates", "Give a key: --target-key-file FILE"
        )
    with GalleryRecords(target, contract, create=True, key=key or NO_KEY, encrypt_names=names) as records:
        stated = records.encryption
    if names and stated is not None and not stated.names:
        raise UsageError(f"{target} is an incomplete copy without encrypted names", "Name another place.")


class _Side:
    """The gallery, or its copy, with the encryption that it has when this is made."""

    def __init__(self, engine: Engine, contract: Contract, key: KeySource | None) -> None:
        self.engine, self._contract = engine, contract
        self.stated = encryption.stated_in(engine.db, engine.path, engine.schema)
        cipher = encryption.cipher_of(self.stated, engine.path, key)
        self._stored = TemplateRows(contract, engine.schema, cipher)
        self._names = encryption.names_of(cipher)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Raises `InputOutput` if another program has changed the encryption in the meantime."""
        with self.engine.transaction():
            encryption.check_unchanged(self.engine, self.stated)
            yield

    def people(self, which: str) -> list[Row]:
        """Number, uid and name of people. Raises `Unreadable` if a name is not what was written."""
        found = []
        for number, uid, stored in self.engine.rows(
            f"SELECT id, uid, name FROM people WHERE {which}", types=(int, str, str)
        ):
            name = self._names.read(uid, stored)
            if name is None:
                raise self.engine.damaged(f"the name of person {number} cannot be read")
            found.append((number, uid, name))
        return found

    def templates(self, people: list[Row]) -> list[Row]:
        """The templates of these ``people``, by number, as `add` takes them. Raises `Unreadable` if one is
        not what was written."""
        first, last = people[0][0], people[-1][0]
        owners = {
            number: Owner(uid, stored)
            for number, uid, stored in self.engine.rows(
                "SELECT id, uid, name FROM people WHERE id >= ? AND id <= ?", first, last
            )
        }
        names = {number: name for number, _, name in people}
        found = []
        for number, *row in self.engine.rows(
            f"SELECT person, {_COLUMNS} FROM templates WHERE person >= ? AND person <= ? ORDER BY person, id",
            first, last,
        ):  # fmt: skip
            if number not in owners:
                raise self.engine.damaged("a template belongs to no person")
            template = self._stored.unpacked(owners[number], *row)
            if template is None:
                raise self.engine.damaged(f"a template of '{shown(names[number])}' cannot be read")
            clear = pack(template.embedding)
            found.append((number, template.photo, clear, template.quality, template.enrolled))
        return found

    def add(self, people: list[Row], templates: list[Row]) -> None:
        named = [(number, uid, *self._names.written(uid, name)) for number, uid, name in people]
        owners = {number: Owner(uid, stored) for number, uid, stored, _ in named}
        rows = []
        for number, photo, clear, quality, enrolled in templates:
            blob, seal = self._stored.written(owners[number], photo, clear, quality, enrolled)
            rows.append((number, self._stored.space, photo, blob, quality, enrolled, seal))
        with self.transaction():
            self.engine.db.executemany(
                "INSERT INTO people (id, uid, name, lookup) VALUES (?, ?, ?, ?)", named
            )
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
        """Copy ``people``, who are all those with a number above ``after`` and at most ``up_to``; return how
        many were already there, and how many templates they have."""
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
        """Copy the missing rows; return the number of all rows."""
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
            f"{self._new.path} is not an incomplete copy: it holds {what}",
            "One of them has been changed since: copy to a place without a gallery.",
        )


def _blocks(rows: Iterator[Row]) -> Iterator[Sequence[Row]]:
    while some := list(islice(rows, _ROWS)):
        yield some
