"""Measure the recall of a search by an index: how many of the people found by the exact search it finds, in
the gallery itself.

Probes are templates of enrolled people with noise of the same length added. Their cosine with the template is
about 0.71, somewhat less than that of another photo of the same person often is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.candidate_search import CandidateSearch
from facekd.gallery.records import GalleryRecords

Floats = NDArray[np.float32]

#: people whose templates serve as probes, and how many of the people found for each are compared
PROBES, TOP = 200, 5


@dataclass(frozen=True)
class Recall:
    """Of so many ``probes``: ``at_1`` is the share for which the exact search's first was found first,
    ``at_5`` the share of the exact search's first five who were among the five found."""

    probes: int
    at_1: float
    at_5: float


def measure_recall(records: GalleryRecords, search: CandidateSearch) -> Recall:
    """The recall of ``search`` in the gallery as it is now; 1 if nobody is enrolled. Raises `Unreadable` if a
    template is damaged."""
    known = records.some(records.some_uids(PROBES))
    if not known:
        return Recall(0, 1.0, 1.0)
    probes = noisy_probes(np.stack([one.embeddings[0] for one in known.values()]))
    exact = exact_nearest(records.directions(), probes, TOP)
    found = [[one.uid for one in of_one] for of_one in search.nearest(probes, TOP)]
    return recall_of(found, exact)


def recall_of(found: Sequence[Sequence[str]], exact: Sequence[Sequence[str]]) -> Recall:
    """The recall of what was ``found`` for each probe, compared with the ``exact`` answer."""
    first = [list(of_one[:1]) == list(right[:1]) for of_one, right in zip(found, exact, strict=True)]
    among = [len(set(of_one) & set(right)) / len(right) for of_one, right in zip(found, exact, strict=True)]
    return Recall(len(exact), float(np.mean(first)), float(np.mean(among)))


def noisy_probes(rows: Floats, seed: int = 0) -> Floats:
    """Unit ``rows`` [N, D], each with a random direction added to it."""
    noise = np.random.default_rng(seed).standard_normal(rows.shape).astype(np.float32)
    mixed = rows + noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


def exact_nearest(
    people: Iterable[tuple[Sequence[str], Floats]], probes: Floats, top: int
) -> list[list[str]]:
    """The uids of the ``top`` people most similar to each of ``probes`` [N, D], by descending score, found by
    comparing with everybody."""
    scores: Floats = np.empty((len(probes), 0), np.float32)
    uids: NDArray[np.str_] = np.empty((len(probes), 0), "U32")
    for names, rows in people:
        scores = np.hstack([scores, probes @ rows.T])
        uids = np.hstack([uids, np.broadcast_to(np.array(names), (len(probes), len(names)))])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        scores, uids = np.take_along_axis(scores, best, axis=1), np.take_along_axis(uids, best, axis=1)
    return [list(map(str, row)) for row in uids]
