"""What a search engine outside the records answers: who may be most like an embedding.

Such an index is never the truth. It names candidates, which are compared again with the templates of the
records, and it can be dropped and rebuilt at any time. Its stamp says what it was built from, so that one
that is stale, lost or of another space is noticed before it is asked.
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
    """An index of one template for each person, the direction of the mean of theirs, by person id."""

    def stamp(self) -> IndexStamp | None:
        """What the index was built from, with the number of people counted in it now; `None` where there
        is none. Raises `InputOutput` where the engine does not answer."""
        ...

    def build(self, people: Iterable[tuple[Sequence[str], Floats]], stamp: IndexStamp) -> None:
        """Replace the index by these blocks of person ids and unit rows float32 [N, D]. Only a whole index
        has the stamp: one that was interrupted has none."""
        ...

    def put(self, ids: Sequence[str], rows: Floats, stamp: IndexStamp) -> None:
        """Add these people, or replace their rows [N, D]; the index is then of ``stamp``."""
        ...

    def remove(self, ids: Sequence[str], stamp: IndexStamp) -> None:
        """Forget these people; when this returns no search finds them. The index is then of ``stamp``."""
        ...

    def candidates(self, embeddings: Floats, count: int) -> list[list[str]]:
        """For each of unit ``embeddings`` [N, D] the ids of up to ``count`` people, likeliest first."""
        ...
