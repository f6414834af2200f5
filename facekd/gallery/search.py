"""Search everybody enrolled for the people most similar to given embeddings; exact, in any order of sums.

Scores are computed twice. Matrix products in single precision cover everybody; their rounding depends on the
processor and on the number of probes, but it is bounded. People whose rank remains open are compared again in
double precision, which decides. So the same people are found in the same order however a search is divided
into blocks, and on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.gallery import search_file, search_memory
from facekd.gallery.entries import Contract
from facekd.gallery.everybody import Everybody
from facekd.gallery.place import Place
from facekd.gallery.records import GalleryRecords
from facekd.runtime import fuse

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
#: the score with a person: with the direction of the mean of their templates, the highest with any template,
#: or the mean of the highest three
Rule = Literal["mean", "max", "highest_three"]
RULES: tuple[Rule, ...] = ("mean", "max", "highest_three")
_HIGHEST = 3

#: probes and templates that are compared at a time
_PROBES, _ROWS = 64, 8192
#: templates that are compared again at a time
_AGAIN = 4096
#: people above which reading them takes longer than a tenth of a second
_WORTH_A_FILE = 5_000


@dataclass(frozen=True)
class Matches:
    """The ``top`` people of a gallery most similar to each of N embeddings: ``names`` [N][top] and ``scores``
    float32 [N, top], descending; of equal scores the lower name comes first. A smaller gallery is listed
    completely."""

    names: tuple[tuple[str, ...], ...]
    scores: Floats


class SearchableRecords(Protocol):
    """What a search needs from the records, which may be an SQLite file or on a server."""

    @property
    def contract(self) -> Contract: ...

    def state(self) -> str | None:
        """A word that changes with every change of who is enrolled; `None` if it is unknown."""
        ...

    def version(self) -> int: ...

    def names(self) -> list[str]:
        """The names of everybody, sorted."""
        ...

    def everybody(self) -> Everybody: ...


class PeopleSearch(Protocol):
    """Searches everybody enrolled, in memory or by a database that can do it itself."""

    def search(self, embeddings: Floats, top: int) -> Matches: ...


class SearchIndex:
    """Searches the people of ``records``, which are read again after a change.

    The templates of the rule "mean" are kept: beside the ``place`` if that is a file, and there are enough
    people to make it worthwhile (`search_file`); in memory if it is a database (`search_memory`). Reading
    raises `Unreadable` if a template is damaged.
    """

    def __init__(self, records: SearchableRecords, rule: Rule = "mean", place: Place | None = None) -> None:
        self._records, self._rule, self._place = records, rule, place
        self._read_at: str | None = None
        self._names: tuple[str, ...] = ()
        self._starts: Places = np.zeros(1, np.int64)
        self._rows = np.empty((0, records.contract.dim), np.float32)
        self._longest = 0.0

    @classmethod
    def of(cls, records: GalleryRecords, rule: Rule = "mean") -> SearchIndex:
        """The index of a gallery; that of an encrypted one is in memory only."""
        in_file = isinstance(records.path, Path)
        return cls(records, rule, None if records.encryption and in_file else records.path)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of everybody, sorted."""
        return self._names

    def refresh(self) -> None:
        """Take in changes since the last search."""
        state = self._records.state()
        seen = f"version {self._records.version()}" if state is None else state
        if seen == self._read_at:
            return
        if self._rule == "mean":
            self._names, self._rows = self._kept(state) or self._fused(state)
            self._starts = np.arange(len(self._rows) + 1)
        else:
            everybody = self._records.everybody()
            self._names, self._rows, self._starts = everybody.names, everybody.embeddings, everybody.starts
        self._longest = float(np.sqrt(np.einsum("ij,ij->i", self._rows, self._rows).max(initial=0)))
        self._read_at = seen

    def search(self, embeddings: Floats, top: int = 5) -> Matches:
        """The ``top`` people for each of ``embeddings`` [N, D].

        Raises `ValueError` if these are not finite or not [N, D], or ``top`` is less than 1.
        """
        self.refresh()
        probes = np.ascontiguousarray(embeddings, np.float32)
        if probes.ndim != 2 or probes.shape[1] != self._rows.shape[1] or not np.isfinite(probes).all():
            raise ValueError(f"embeddings must be finite and [N, {self._rows.shape[1]}]")
        if top < 1:
            raise ValueError("a search must return at least one person")
        top = min(top, len(self._names))
        names: list[tuple[str, ...]] = []
        scores = np.empty((len(probes), top), np.float32)
        for start in range(0, len(probes), _PROBES) if top else ():
            found, scores[start : start + _PROBES] = self._nearest(probes[start : start + _PROBES], top)
            names += [tuple(self._names[place] for place in row) for row in found]
        return Matches(tuple(names) if top else ((),) * len(probes), scores)

    def _kept(self, state: str | None) -> tuple[tuple[str, ...], Floats] | None:
        """Names and templates, if the latter are kept; `None` if they are not, or have just changed."""
        if self._place is None or state is None:
            return None
        if not isinstance(self._place, Path):
            return search_memory.load(str(self._place), self._records.contract.space, state)
        names = tuple(self._records.names())
        rows = search_file.load(self._place, self._key(state, len(names)))
        return None if rows is None or self._records.state() != state else (names, rows)

    def _fused(self, state: str | None) -> tuple[tuple[str, ...], Floats]:
        """Names and fused templates from the records."""
        everybody = self._records.everybody()
        rows = np.empty((len(everybody.names), everybody.embeddings.shape[1]), np.float32)
        for place, own in enumerate(everybody.of_each()):
            rows[place] = fuse(list(own))
        if self._place is not None and state is not None:
            self._keep(self._place, self._key(state, len(rows)), everybody.names, rows)
        return everybody.names, rows

    def _keep(self, place: Place, key: search_file.SearchKey, names: tuple[str, ...], rows: Floats) -> None:
        if not isinstance(place, Path):
            if self._records.state() == key.state:  # what was read belongs to that state
                search_memory.keep(str(place), key, names, rows)
        elif len(rows) >= _WORTH_A_FILE:
            search_file.keep(place, key, rows)

    def _key(self, state: str, people: int) -> search_file.SearchKey:
        contract = self._records.contract
        return search_file.SearchKey(contract.space, contract.dim, state, people)

    def _nearest(self, probes: Floats, top: int) -> tuple[Places, Floats]:
        """The indices of the ``top`` people of each of ``probes`` [B, D], and their scores [B, top]."""
        asked, people = self._in_question(probes, top)
        scores = self._exact(probes, asked, people)
        # people are numbered by name
        order = np.lexsort((people, -scores, asked))
        first = np.searchsorted(asked[order], np.arange(len(probes)))
        chosen = order[first[:, None] + np.arange(top)]
        # the square of a length may be rounded to more than one
        return people[chosen], np.clip(scores[chosen], -1, 1)

    def _in_question(self, probes: Floats, top: int) -> tuple[Places, Places]:
        """The pairs of ``probes`` and people that may be among the ``top``.

        A computed score a is within e of the true score s. The top people have s >= a_top - e, where a_top is
        the top-th highest a, because that many people reach it. So each of them has a >= a_top - 2 e;
        rounding s to single precision adds its own error.
        """
        margin = 2 * self._error(probes) + np.float32(2**-22)
        highest = np.full((len(probes), top), -np.inf, np.float32)
        found: list[tuple[Places, Places, Floats]] = []
        for first, scores in self._blocks(probes):
            # the scores of a block that are above the highest of all blocks before it
            few = min(top, scores.shape[1])
            best = np.partition(scores, scores.shape[1] - few, axis=1)[:, scores.shape[1] - few :]
            highest = np.partition(np.hstack([highest, best]), few, axis=1)[:, few:]
            asked, people = np.nonzero(scores >= highest.min(axis=1, keepdims=True) - margin)
            found.append((asked, people + first, scores[asked, people]))
        asked, people, computed = (np.concatenate(part) for part in zip(*found, strict=True))
        still = computed >= highest.min(axis=1)[asked] - margin[asked, 0]
        return asked[still], people[still]

    def _error(self, probes: Floats) -> Floats:
        """The largest difference between a computed and the true score, for each of ``probes`` [B, 1].

        A sum of D products, in any order, has an error of at most g |x| |y| with g = D u / (1 - D u) and u
        half a unit in the last place of 1 (Higham, "Accuracy and Stability of Numerical Algorithms", 2002,
        section 3.1); the rule adds a few more sums.
        """
        sums = (probes.shape[1] + 2 * _HIGHEST) * 2.0**-24
        lengths = np.linalg.norm(probes.astype(np.float64), axis=1, keepdims=True)
        return np.asarray(1.001 * sums / (1 - sums) * self._longest * lengths, np.float32)

    def _blocks(self, probes: Floats) -> Iterator[tuple[int, Floats]]:
        """The computed scores [B, W] of ``probes`` with W people, and the index of the first."""
        start, people = 0, len(self._starts) - 1
        while start < people:
            # as many people as have this number of templates, but at least one
            end = int(np.searchsorted(self._starts, self._starts[start] + _ROWS, side="right")) - 1
            end = min(people, max(end, start + 1))
            scores = probes @ self._rows[self._starts[start] : self._starts[end]].T
            yield start, self._ruled(scores, self._starts[start : end + 1] - self._starts[start])
            start = end

    def _exact(self, probes: Floats, asked: Places, people: Places) -> Floats:
        """The scores of the ``probes`` [B, D] with index ``asked`` [K] with ``people`` [K], in double
        precision, rounded to single."""
        counts = self._starts[people + 1] - self._starts[people]
        ends = np.cumsum(counts)
        # the templates of all these people, concatenated
        rows = np.arange(ends[-1]) + np.repeat(self._starts[people] - (ends - counts), counts)
        whose = np.repeat(asked, counts)
        scores = np.empty(rows.size)
        for start in range(0, rows.size, _AGAIN):
            some = slice(start, start + _AGAIN)
            scores[some] = exact_scores(probes[whose[some]], self._rows[rows[some]])
        return self._ruled(scores[None], np.concatenate([[0], ends]))[0].astype(np.float32)

    def _ruled(self, scores: NDArray[np.floating], starts: Places) -> NDArray[np.floating]:
        """From the scores [B, T] with templates to those [B, P] with people, whose templates begin at
        ``starts`` [P + 1]."""
        if self._rule == "mean":
            return scores
        if self._rule == "max":
            return np.maximum.reduceat(scores, starts[:-1], axis=1)
        return _mean_of_highest(scores, starts)


def exact_scores(embeddings: Floats, templates: Floats) -> NDArray[np.float64]:
    """The scores [K] of ``embeddings`` [K, D], each with its own of ``templates`` [K, D], in double
    precision: a score does not depend on the other rows."""
    return np.asarray((embeddings.astype(np.float64) * templates.astype(np.float64)).sum(axis=1))


def _mean_of_highest(scores: NDArray[np.floating], starts: Places) -> NDArray[np.floating]:
    """The mean [B, P] of the highest `_HIGHEST` of each person's scores [B, T], or of all if they are
    fewer."""
    counts = np.diff(starts)
    means = np.empty((len(scores), counts.size), scores.dtype)
    for count in np.unique(counts):
        people = np.flatnonzero(counts == count)
        theirs = scores[:, starts[people][:, None] + np.arange(count)]
        kept = min(int(count), _HIGHEST)
        means[:, people] = np.sort(theirs, axis=2)[:, :, count - kept :].mean(axis=2)
    return means
