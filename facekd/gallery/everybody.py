"""All templates of a gallery at once: few queries for all rows, each still checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.engine import Engine
from facekd.gallery.entries import Contract
from facekd.gallery.names import shown
from facekd.gallery.template_rows import Owner, TemplateCipher, TemplateRows

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


def read(file: Engine, contract: Contract, cipher: TemplateCipher | None = None) -> Everybody:
    """Everybody in the open gallery ``file``, whose contract is ``contract``; ``cipher`` decrypts templates.

    Rows are read in the order in which they were written: ordered by person, each would need a seek. Raises
    `Unreadable` if a template is damaged, or somebody has none.
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
            raise file.damaged("a template has no person")
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
