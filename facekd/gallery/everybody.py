"""All templates of a gallery at once: one query for as many rows as there are, each still checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.engine import Engine
from facekd.gallery.entries import Contract
from facekd.gallery.names import shown
from facekd.gallery.template_rows import Owner, TemplateCipher, TemplateRows

Floats = NDArray[np.float32]

#: people who are looked for in one query
_AT_ONCE = 500


@dataclass(frozen=True)
class Everybody:
    """The people ``names`` [P], rising, and their ``embeddings`` [T, D], those of one person together in the
    order of enrolment, ``counts`` [P] of each."""

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    embeddings: Floats

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each person's templates begin, and where all end [P + 1]."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def of_each(self) -> Iterator[Floats]:
        """Each person's embeddings."""
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            yield self.embeddings[start:end]


@dataclass(frozen=True)
class Somebody:
    """A person ``name`` and their ``embeddings`` [T, D], in the order of enrolment."""

    name: str
    embeddings: Floats


def read(file: Engine, contract: Contract, cipher: TemplateCipher | None = None) -> Everybody:
    """Everybody in the open gallery ``file``, made under ``contract``, whose templates ``cipher`` decrypts.

    Rows are read in the order in which they were written: by person, each would be looked for. Raises
    `Unreadable` where a template is not what was written, or somebody has none.
    """
    with file.snapshot():
        stored = TemplateRows(contract, file.schema, cipher)
        query = f"SELECT id, {stored.uid_column}, name FROM people ORDER BY name"
        people = file.rows(query, types=(int, str, str))
        sizes: dict[int, int] = dict(
            file.rows("SELECT person, count(*) FROM templates GROUP BY person", types=(int, int))
        )
        owners = [Owner(uid, name) for _, uid, name in people]
        for number, _, name in people:
            if number not in sizes:
                raise file.damaged(f"'{shown(name)}' has no template")
        counts = np.array([sizes.pop(number) for number, _, _ in people], np.int64)
        if sizes:
            raise file.damaged("a template belongs to nobody")
        names = tuple(owner.name for owner in owners)
        found = Everybody(names, counts, np.empty((int(counts.sum()), contract.dim), np.float32))
        place = {number: at for at, (number, _, _) in enumerate(people)}
        following = found.starts[:-1].tolist()
        columns = f"person, photo, embedding, quality, enrolled, {stored.checksum_column}"
        for number, *row in file.stream(f"SELECT {columns} FROM templates ORDER BY id"):
            person = place[number]
            template = stored.unpacked(owners[person], *row)
            if template is None:
                raise file.damaged(f"a template of '{shown(names[person])}' cannot be read")
            found.embeddings[following[person]] = template.embedding
            following[person] += 1
    return found


def read_some(
    file: Engine, contract: Contract, uids: Sequence[str], cipher: TemplateCipher | None = None
) -> dict[str, Somebody]:
    """Those of the people with ``uids`` who are enrolled. Raises `Unreadable` where a template of theirs is
    not what was written, or somebody has none."""
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
            found |= dict(_by_person(file, stored, rows))
    return found


def stream(
    file: Engine, contract: Contract, cipher: TemplateCipher | None = None
) -> Iterator[tuple[str, Somebody]]:
    """Everybody by uid, of one moment, without holding all of them. Raises as `read_some`, except for
    somebody who has no template."""
    with file.snapshot():
        stored = TemplateRows(contract, file.schema, cipher)
        columns = f"uid, name, photo, embedding, quality, enrolled, {stored.checksum_column}"
        rows = file.stream(
            f"SELECT {columns} FROM templates JOIN people ON person = people.id ORDER BY person, templates.id"
        )
        yield from _by_person(file, stored, rows)


def _by_person(
    file: Engine, stored: TemplateRows, rows: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[str, Somebody]]:
    """The people of ``rows``, in which those of one person are together."""
    for (uid, name), own in groupby(rows, key=itemgetter(0, 1)):
        templates = [
            stored.unpacked(Owner(uid, name), *row[2:]) for row in own
        ]  # somebody without has one of None
        if any(template is None for template in templates):
            raise file.damaged(f"a template of '{shown(str(name))}' cannot be read")
        yield uid, Somebody(name, np.stack([one.embedding for one in templates if one is not None]))
