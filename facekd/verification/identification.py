"""Identification (1:N): who of the enrolled people is this, if anybody?

Words and rates are those of ISO/IEC 19795-1 and of NIST's 1:N evaluations (Grother et al., "Face
recognition vendor test part 2: identification", NISTIR 8271, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES, enough
from facekd.verification.results import Floats, OpenPoint, RankPoint, Searches
from facekd.verification.score_matrix import Rows, acquired, blocks

RANKS = (1, 5, 10)
#: the false positive identification rates of open-set searches
FPIRS = (1e-1, 1e-2, 1e-3)
#: probes that are compared with the whole gallery at once
_PROBES = 512


def search(
    templates: Rows, people: Sequence[str], probes: Rows, whose: Sequence[str], unknown: Rows
) -> Searches:
    """Search ``templates`` [G, D], one for each of ``people`` [G], with ``probes`` [P, D] of
    people ``whose`` [P] and with ``unknown`` [U, D], of people who are not in ``people``.

    Rows have unit length; a row of NaN in ``probes`` or ``unknown`` is a failure to acquire. People in
    ``whose`` without a template are never found. Raises `UsageError` for an empty gallery.
    """
    if not len(templates):
        raise UsageError("nobody could be enrolled: no photo of the gallery has an embedding")
    place = {person: index for index, person in enumerate(people)}
    own_place = np.array([place.get(person, -1) for person in whose], np.int64)
    rank = np.zeros(len(probes), np.int64)
    own = np.full(len(probes), -np.inf)
    usable = np.flatnonzero((own_place >= 0) & acquired(probes))
    for block in blocks(probes[usable], templates, _PROBES):
        here = usable[block.rows]
        mine = block.scores[np.arange(here.size), own_place[here]]
        own[here] = mine
        # the own template is among those that score at least as high
        rank[here] = (block.scores >= mine[:, None]).sum(axis=1)
    highest, nearest = np.full(len(unknown), -np.inf), np.full(len(unknown), -1)
    there = np.flatnonzero(acquired(unknown))
    for block in blocks(unknown[there], templates, _PROBES):
        here = there[block.rows]
        highest[here], nearest[here] = block.scores.max(axis=1), block.scores.argmax(axis=1)
    return Searches(len(templates), rank, own, highest, nearest)


def rank_points(searches: Searches) -> tuple[RankPoint, ...]:
    """The rates at those of `RANKS` that are at most the number of people enrolled."""
    found = searches.rank[searches.rank > 0]
    ranks = [rank for rank in RANKS if rank == 1 or rank <= searches.enrolled]
    return tuple(RankPoint(rank, int((found <= rank).sum()), searches.rank.size) for rank in ranks)


def open_point(searches: Searches, fpir: float) -> OpenPoint:
    """FNIR at the smallest threshold with an FPIR of at most ``fpir``, over all searches: a search with a
    photo that was not acquired is no false positive, and if mated it is a miss."""
    mated, non_mated = searches.rank.size, searches.highest.size
    if not enough(non_mated, fpir):
        return OpenPoint(fpir, mated, non_mated)
    allowed = metrics.allowed_false_matches(non_mated, fpir)
    refused = float(np.sort(searches.highest)[::-1][allowed])
    first = searches.own[searches.rank == 1]
    # -inf: so many were not acquired that all others may be false positives
    threshold = metrics.threshold_above(refused, first, searches.highest) if np.isfinite(refused) else -1.0
    return OpenPoint(
        fpir, mated, non_mated, mated - int((first >= threshold).sum()), threshold,
        int((searches.highest >= threshold).sum()),
    )  # fmt: skip


def open_curve(searches: Searches) -> tuple[Floats, Floats]:
    """FPIR (ascending) and FNIR, as far as they rest on 30 false positives."""
    falling = np.sort(searches.highest[np.isfinite(searches.highest)])[::-1]
    counts = np.arange(FEWEST_FALSE_MATCHES, falling.size)
    first = np.sort(searches.own[searches.rank == 1])
    hits = first.size - np.searchsorted(first, falling[counts], side="right")
    return counts / max(searches.highest.size, 1), 1 - hits / searches.rank.size
