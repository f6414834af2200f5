"""All templates of a gallery at once: few queries for all rows, each still checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.encryption import Cipher, names_of
from facekd.gallery.engine import Engine, Row
from facekd.gallery.entries import Contract
from facekd.gallery.names import shown
from facekd.gallery.stored_names import StoredNames
from facekd.gallery.template_rows import Owner, TemplateRows

Floats = NDArray[np.float32]


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


def read(file: Engine, contract: Contract, cipher: Cipher | None) -> Everybody:
    """Everybody in the open gallery ``file``, made under ``contract``, which ``cipher`` decrypts.

    Rows are read in the order in which they were written: by person, each would be looked for. Raises
    `Unreadable` where a template or a name is not what was written, or somebody has none.
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
            raise file.damaged("a template belongs to nobody")
        everybody = tuple(name for name, _, _ in people)
        found = Everybody(everybody, counts, np.empty((int(counts.sum()), contract.dim), np.float32))
        place = {number: at for at, (_, number, _) in enumerate(people)}
        following = found.starts[:-1].tolist()
        columns = f"person, photo, embedding, quality, enrolled, {stored.checksum_column}"
        for number, *row in file.stream(f"SELECT {columns} FROM templates ORDER BY id"):
            person = place[number]
            template = stored.unpacked(people[person][2], *row)
            if template is None:
                raise file.damaged(f"a template of '{shown(everybody[person])}' cannot be read")
            found.embeddings[following[person]] = template.embedding
            following[person] += 1
    return found


def _named(file: Engine, people: list[Row], names: StoredNames) -> list[tuple[str, int, Owner]]:
    """Name, number and owner of templates of each person, given by number, uid and stored name; by name."""
    found = []
    for number, uid, stored in people:
        name = names.read(uid, stored)
        if name is None:
            raise file.damaged(f"the name of person {number} cannot be read")
        found.append((name, number, Owner(uid, stored)))
    return sorted(found, key=lambda person: person[0])
