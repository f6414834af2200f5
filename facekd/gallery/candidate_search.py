"""Search everybody enrolled by an index outside the records: the index names candidates, and these are
compared again with the templates of the records, exactly as `SearchIndex` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput
from facekd.gallery.candidates import CandidateIndex, IndexStamp
from facekd.gallery.everybody import Somebody
from facekd.gallery.search import Matches, SearchableRecords, exact_scores
from facekd.runtime import fuse

Floats = NDArray[np.float32]
Steady = Callable[[], AbstractContextManager[None]]

#: candidates requested from the index: for each person to be listed, and at least
EACH, LEAST = 10, 100
#: how often the index is built before the search gives up
_BUILDS = 2


class IndexedRecords(SearchableRecords, Protocol):
    """What a search by an index needs from the records."""

    def count(self) -> int:
        """The number of people enrolled."""
        ...

    def some(self, uids: Sequence[str]) -> Mapping[str, Somebody]:
        """Those of the people with these ``uids`` who are enrolled, by uid. Raises `Unreadable` if one of
        their templates is damaged."""
        ...

    def directions(self) -> Iterator[tuple[Sequence[str], Floats]]:
        """The uids of everybody, and the direction of the mean of each person's templates [N, D]; in blocks,
        from one moment. Raises `Unreadable` if a template is damaged."""
        ...

    def snapshot(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Found:
    """A person found by a search; ``score`` is rounded to single precision."""

    uid: str
    name: str
    score: float


class CandidateSearch:
    """Searches ``records`` by ``index``, which is rebuilt if it does not match their current state: if it is
    lost, stale, of another space, holds another number of people, or somebody who was removed.

    The scores of the people that the index names are those of `SearchIndex` by the rule "mean", to the bit.
    People whom it does not name are not found; how many these are was measured when it was built.

    For an index that cannot be changed in one transaction with the records, ``steady`` keeps writers from
    changing either; it is entered before the index is considered stale.
    """

    def __init__(self, records: IndexedRecords, index: CandidateIndex, steady: Steady | None = None) -> None:
        self._records, self._index, self._steady = records, index, steady
        self._present: IndexStamp | None = None

    def search(self, embeddings: Floats, top: int = 5) -> Matches:
        """The ``top`` people for each of ``embeddings`` [N, D].

        Raises `ValueError` if these are not finite or not [N, D], or ``top`` is less than 1; `InputOutput` if
        the index does not answer, or is outdated again after each rebuild.
        """
        found = self.nearest(embeddings, top)
        most = max((len(of_one) for of_one in found), default=0)
        scores = np.array([[one.score for one in of_one] for of_one in found], np.float32)
        names = tuple(tuple(one.name for one in of_one) for of_one in found)
        # the square of a length may be rounded to more than one
        return Matches(names, np.clip(scores.reshape(len(found), most), -1, 1))

    def nearest(self, embeddings: Floats, top: int) -> list[list[Found]]:
        """As `search`, with uids; a list for each of ``embeddings``, by descending score."""
        probes = np.ascontiguousarray(embeddings, np.float32)
        dim = self._records.contract.dim
        if probes.ndim != 2 or probes.shape[1] != dim or not np.isfinite(probes).all():
            raise ValueError(f"embeddings must be finite and [N, {dim}]")
        if top < 1:
            raise ValueError("a search must return at least one person")
        found = self._tried(probes, top, nullcontext())
        if found is None and self._steady is not None:  # a writer may have changed only one of the two yet
            found = self._tried(probes, top, self._steady())
        for _ in range(_BUILDS):
            if found is not None:
                return found
            self.rebuild()
            found = self._tried(probes, top, self._steady() if self._steady else nullcontext())
        if found is not None:
            return found
        raise InputOutput(
            "the search index does not match the gallery, although it was just built",
            "Try again. To search without the index: facekd gallery index --engine exact",
        )

    def rebuild(self) -> None:
        """Build the index from the records. The next search detects what has changed in the meantime."""
        self._present = None
        self._index.build(self._records.directions(), self._wanted())

    def is_current(self) -> bool:
        """Whether the stamp of the index is that of the current state of the records."""
        with self._steady() if self._steady else nullcontext():
            return self._index.stamp() == self._wanted()

    def _wanted(self) -> IndexStamp:
        """The stamp of an index of the current state."""
        state = str(self._records.state())
        if self._present is None or self._present.state != state:
            self._present = IndexStamp(self._records.contract.space, state, self._records.count())
        return self._present

    def _tried(
        self, probes: Floats, top: int, steady: AbstractContextManager[None]
    ) -> list[list[Found]] | None:
        """As `_found`, in a snapshot of the records."""
        with steady, self._records.snapshot():
            return self._found(probes, top)

    def _found(self, probes: Floats, top: int) -> list[list[Found]] | None:
        """`None` if the index does not match the state of the records, by its stamp or by whom it names."""
        wanted = self._wanted()
        if self._index.stamp() != wanted:
            return None
        if not wanted.people or not len(probes):
            return [[] for _ in probes]
        named = self._index.candidates(probes, min(wanted.people, max(EACH * top, LEAST)))
        known = self._records.some(sorted({uid for of_one in named for uid in of_one}))
        if any(uid not in known for of_one in named for uid in of_one):  # somebody who was removed
            return None
        if any(len(of_one) < min(top, wanted.people) for of_one in named):
            return None
        fused = {uid: fuse(one.embeddings) for uid, one in known.items()}
        return [_ranked(probe, uids, known, fused)[:top] for probe, uids in zip(probes, named, strict=True)]


def _ranked(
    probe: Floats, uids: Sequence[str], known: Mapping[str, Somebody], fused: Mapping[str, Floats]
) -> list[Found]:
    """The people with ``uids`` by descending score; of equal scores the lower name comes first. ``fused`` are
    their fused templates."""
    rows = np.stack([fused[uid] for uid in uids])
    scores = exact_scores(np.broadcast_to(probe, rows.shape), rows).astype(np.float32).tolist()
    found = [Found(uid, known[uid].name, score) for uid, score in zip(uids, scores, strict=True)]
    return sorted(found, key=lambda one: (-one.score, one.name))
