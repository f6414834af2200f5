"""An index outside the records that names candidates: the people who may be most similar to an embedding.

Such an index is never authoritative: candidates are compared again with the templates of the records, and the
index can be dropped and rebuilt at any time. Its stamp states what it was built from, so that an index that
is stale, lost or of another space is detected before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class IndexStamp:
    """What an index was built from: the ``space`` of the embeddings, the ``state`` of the records
    (`SearchableRecords.state`), and how many ``people`` it holds."""

    space: str
    state: str
    people: int


class CandidateIndex(Protocol):
    """An index of one vector for each person, by uid: the direction of the mean of their templates."""

    def stamp(self) -> IndexStamp | None:
        """What the index was built from, with the number of people that it holds now; `None` if there is no
        index. Raises `InputOutput` if the engine does not answer."""
        ...

    def build(self, people: Iterable[tuple[Sequence[str], Floats]], stamp: IndexStamp) -> None:
        """Replace the index by these blocks of uids and unit rows float32 [N, D]. Only a complete index has a
        stamp: an interrupted build leaves none."""
        ...

    def put(self, ids: Sequence[str], rows: Floats, stamp: IndexStamp) -> None:
        """Add these people, or replace their rows [N, D]; the index then has this ``stamp``."""
        ...

    def remove(self, ids: Sequence[str], stamp: IndexStamp) -> None:
        """Delete these people: once this returns, no search finds them. The index then has this ``stamp``."""
        ...

    def candidates(self, embeddings: Floats, count: int) -> list[list[str]]:
        """For each of the unit ``embeddings`` [N, D], the uids of up to ``count`` people, most similar
        first."""
        ...
