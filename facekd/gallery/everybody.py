"""Read all templates of a gallery with few queries; every row is still checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.encryption import Cipher, names_of
from facekd.gallery.engine import Engine, Row
from facekd.gallery.entries import Contract
from facekd.gallery.faults import moved_meanwhile
from facekd.gallery.names import shown
from facekd.gallery.stored_names import StoredNames
from facekd.gallery.template_rows import Owner, TemplateRows

Floats = NDArray[np.float32]

#: people looked up in one query
_AT_ONCE = 500


@dataclass(frozen=True)
class Everybody:
    """The people ``names`` [P], sorted, with the ``embeddings`` [T, D], those of one person together in the
    order of enrolment, and their ``counts`` [P]."""

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    embeddings: Floats

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The index of each person's first template, and the number of all [P + 1]."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def of_each(self) -> Iterator[Floats]:
        """The embeddings of each person [T_p, D]."""
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            yield self.embeddings[start:end]


@dataclass(frozen=True)
class Somebody:
    """A person ``name`` and their ``embeddings`` [T, D], in the order of enrolment."""

    name: str
    embeddings: Floats


def read(file: Engine, contract: Contract, cipher: Cipher | None) -> Everybody:
    """Everybody in the open gallery ``file`` with this ``contract``, decrypted by ``cipher``.

    Rows are read in the order in which they are stored, which is faster than person by person. Raises
    `Unreadable` if a template or a name is not what was written, or somebody has no template.
    """
    with file.snapshot():
        stored = TemplateRows(contract, file.schema, cipher)
        query = f"SELECT id, {stored.uid_column}, name FROM people ORDER BY name"
        people = _named(file, file.rows(query, types=(int, str, str)), names_of(cipher))
        sizes: dict[int, int] = dict(
            file.rows("SELECT person, count(*) FROM templates GROUP BY person", types=(int, int))
        )
        for name, number, _ in people:
            if number not in sizes:
                raise file.damaged(f"'{shown(name)}' has no template")
        counts = np.array([sizes.pop(number) for _, number, _ in people], np.int64)
        if sizes:
            raise file.damaged("a template belongs to no person")
        everybody = tuple(name for name, _, _ in people)
        found = Everybody(everybody, counts, np.empty((int(counts.sum()), contract.dim), np.float32))
        place = {number: at for at, (_, number, _) in enumerate(people)}
        following = found.starts[:-1].tolist()
        columns = f"person, photo, embedding, quality, enrolled, {stored.checksum_column}"
        for number, *row in file.stream(f"SELECT {columns} FROM templates ORDER BY id"):
            person = place[number]
            template = stored.unpacked(people[person][2], *row)
            if template is None:
                raise unreadable(file, contract, everybody[person])
            found.embeddings[following[person]] = template.embedding
            following[person] += 1
    return found


def _named(file: Engine, people: list[Row], names: StoredNames) -> list[tuple[str, int, Owner]]:
    """Name, number and `Owner` of each of ``people`` (number, uid, stored name), sorted by name."""
    found = []
    for number, uid, stored in people:
        name = names.read(uid, stored)
        if name is None:
            raise file.damaged(f"the name of person {number} cannot be read")
        found.append((name, number, Owner(uid, stored)))
    return sorted(found, key=lambda person: person[0])


def read_some(
    file: Engine, contract: Contract, uids: Sequence[str], cipher: Cipher | None
) -> dict[str, Somebody]:
    """Those of the people with these ``uids`` who are enrolled, by uid. Raises `Unreadable` if one of their
    templates is not what was written, or somebody has none."""
    with file.snapshot():
        stored = TemplateRows(contract, file.schema, cipher)
        found: dict[str, Somebody] = {}
        for start in range(0, len(uids), _AT_ONCE):
            some = uids[start : start + _AT_ONCE]
            columns = f"uid, name, photo, embedding, quality, enrolled, {stored.checksum_column}"
            rows = file.rows(
                f"SELECT {columns} FROM people LEFT JOIN templates ON person = people.id"
                f" WHERE uid IN ({', '.join('?' * len(some))}) ORDER BY people.id, templates.id",
                *some,
            )
            found |= dict(_by_person(file, contract, stored, names_of(cipher), rows))
    return found


def stream(file: Engine, contract: Contract, cipher: Cipher | None) -> Iterator[tuple[str, Somebody]]:
    """Everybody with their uid, from one moment, without keeping all of them in memory. Raises as `read_some`
    does, but skips people without a template."""
    with file.snapshot():
        stored = TemplateRows(contract, file.schema, cipher)
        columns = f"uid, name, photo, embedding, quality, enrolled, {stored.checksum_column}"
        rows = file.stream(
            f"SELECT {columns} FROM templates JOIN people ON person = people.id ORDER BY person, templates.id"
        )
        yield from _by_person(file, contract, stored, names_of(cipher), rows)


def _by_person(
    file: Engine,
    contract: Contract,
    stored: TemplateRows,
    names: StoredNames,
    rows: Iterable[tuple[Any, ...]],
) -> Iterator[tuple[str, Somebody]]:
    """The people of ``rows``, in which the rows of one person are consecutive."""
    for (uid, name), own in groupby(rows, key=itemgetter(0, 1)):
        told = names.read(uid, name)
        if told is None:
            raise file.damaged(f"the name of the person {shown(str(uid))} cannot be read")
        # the outer join gives somebody without a template one row of `None`, which does not unpack
        templates = [stored.unpacked(Owner(uid, name), *row[2:]) for row in own]
        if any(template is None for template in templates):
            raise unreadable(file, contract, told)
        yield uid, Somebody(told, np.stack([one.embedding for one in templates if one is not None]))


def unreadable(file: Engine, contract: Contract, name: str) -> Exception:
    """The error to raise if a template of the person ``name`` is not what was written under ``contract``:
    `Unreadable`, or `Misfit` if the gallery was moved to another model since it was opened."""
    if file.rows("SELECT space FROM contract") != [(contract.space,)]:
        return moved_meanwhile(file.path)
    return file.damaged(f"a template of '{shown(name)}' cannot be read")
