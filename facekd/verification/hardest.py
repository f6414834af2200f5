"""The comparisons with a model's largest errors, which often show bad photos and wrong labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification.protocols import Identification, Protocol, Templates
from facekd.verification.results import (
    AllPairsResult,
    HardPair,
    IdentificationResult,
    PairResult,
    Result,
    ScoreResult,
)
from facekd.verification.score_matrix import Rows, UpperTail, acquired, blocks, unit

#: how many of the hardest comparisons of each kind
HARDEST = 8


Floats = NDArray[np.float64]


def hardest_pairs(
    protocol: Protocol[Any], result: Result, rows: Rows, count: int = HARDEST
) -> tuple[HardPair, ...]:
    """The ``count`` mated comparisons of ``result`` with the lowest scores, then the ``count`` non-mated ones
    with the highest. For a search these are the probe with its own person, and a probe of nobody
    enrolled with the first candidate. ``rows`` [N, D] are the embeddings of the protocol's photos, NaN for
    none. None for a result of another kind.
    """
    if isinstance(protocol, Identification) and isinstance(result, IdentificationResult):
        return tuple(_searches(protocol, result, count))
    shown = _shown(protocol, rows)
    if isinstance(result, PairResult | ScoreResult) and protocol.compared is not None:
        return hardest_listed(protocol.compared, result.scores, result.mated, count, shown)
    if isinstance(result, AllPairsResult):
        if isinstance(protocol, Templates):
            units = protocol.embedded(rows), [template.person for template in protocol.templates]
            return hardest_of_all(*units, [template.name for template in protocol.templates], count, shown)
        return hardest_of_all(rows, protocol.people or (), protocol.photos, count, shown)
    return ()


def hardest_listed(
    compared: Sequence[tuple[str, str]],
    scores: Floats,
    mated: NDArray[np.bool_],
    count: int = HARDEST,
    shown: Mapping[str, str] | None = None,
) -> tuple[HardPair, ...]:
    """From the listed comparisons ``compared`` [P] with their ``scores`` [P], NaN if one failed, and
    ``mated`` [P]; of equally hard ones the first. ``shown`` is the photo to show for something
    that is not a photo itself."""

    def worst(kind: NDArray[np.bool_], sign: int) -> list[int]:
        places = np.flatnonzero(kind & np.isfinite(scores))
        return [int(p) for p in places[np.argsort(sign * scores[places], kind="stable")[:count]]]

    chosen = [*worst(mated, 1), *worst(~mated, -1)]
    return tuple(_pair(*compared[p], bool(mated[p]), float(scores[p]), shown or {}) for p in chosen)


def hardest_of_all(
    rows: Rows,
    people: Sequence[str],
    names: Sequence[str],
    count: int = HARDEST,
    shown: Mapping[str, str] | None = None,
) -> tuple[HardPair, ...]:
    """From all comparisons among ``rows`` [N, D], NaN for none, of ``people`` [N]; ``names``
    [N] are those of the photos. Scores are computed again, in blocks, and only the hardest are kept."""
    there = np.flatnonzero(acquired(rows))
    place = np.arange(there.size)
    person = np.unique(np.asarray(people), return_inverse=True)[1][there]
    lowest, highest = UpperTail(count), UpperTail(count)
    for block in blocks(unit(rows[there])):
        same = person[block.rows, None] == person[block.columns]
        for tail, hardness, kind in ((lowest, -block.scores, same), (highest, block.scores, ~same)):
            worst = np.where(kind & block.above, hardness, np.float32(-np.inf))
            tail.add(worst, place[block.rows], place[block.columns])
    found = ((True, -1, *lowest.falling()), (False, 1, *highest.falling()))
    return tuple(
        _pair(names[there[one]], names[there[other]], mated, sign * hardness, shown or {})
        for mated, sign, scores, places in found
        for hardness, (one, other) in zip(scores.tolist(), places.tolist(), strict=True)
    )


def _pair(first: str, second: str, mated: bool, score: float, shown: Mapping[str, str]) -> HardPair:
    return HardPair(first, second, mated, score, (shown.get(first, first), shown.get(second, second)))


def _shown(protocol: Protocol[Any], rows: Rows) -> dict[str, str]:
    """The first embedded photo of each template; empty if photos are compared."""
    if not isinstance(protocol, Templates):
        return {}
    there = {photo for photo, kept in zip(protocol.photos, acquired(rows), strict=True) if kept}
    photos = {t.name: [photo for media in t.media for photo in media] for t in protocol.templates}
    return {name: next((p for p in own if p in there), own[0]) for name, own in photos.items()}


def _searches(protocol: Identification, result: IdentificationResult, count: int) -> Iterator[HardPair]:
    searches = result.searches
    ranked = np.flatnonzero(searches.rank > 0)
    for place in ranked[np.argsort(searches.own[ranked], kind="stable")[:count]].tolist():
        photo, person = protocol.probes[place]
        yield HardPair(photo, person, True, float(searches.own[place]), (photo, protocol.enrolled[person][0]))
    if searches.nearest is None:
        return
    enrolled = [person for person in protocol.enrolled if person not in set(result.not_enrolled)]
    there = np.flatnonzero(np.isfinite(searches.highest))
    for place in there[np.argsort(-searches.highest[there], kind="stable")[:count]].tolist():
        photo, person = protocol.unknown[place][0], enrolled[searches.nearest[place]]
        yield HardPair(
            photo, person, False, float(searches.highest[place]), (photo, protocol.enrolled[person][0])
        )
