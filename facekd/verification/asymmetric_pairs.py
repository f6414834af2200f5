"""Listed pairs with two sets of embeddings: of two models, or under two conditions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from facekd.errors import Misfit, UsageError
from facekd.verification.listed_pairs import ALL_PAIRS_FMRS, cosines, judge_listed
from facekd.verification.probe_scores import Against, against
from facekd.verification.protocols import Embed, PairList, checked_embeddings
from facekd.verification.results import PairResult

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class TwoSided:
    """``result`` is for the listed pairs; its ``everyone_points`` are those of ``everyone``, which
    compares every photo embedded in the first way with every other photo embedded in the second, in
    both orders; `None` if the photos' folders do not name people."""

    result: PairResult
    everyone: Against | None


@dataclass(frozen=True)
class Kept(PairList):
    """A list of pairs that keeps the embeddings it was evaluated with in ``rows``, one entry per model."""

    rows: list[Rows] = field(default_factory=list)

    @classmethod
    def of(cls, protocol: PairList) -> Kept:
        return cls(
            protocol.name, protocol.source, protocol.pairs, protocol.fold, protocol.fold_names,
            protocol.folds_from, protocol.person_of, protocol.left_out,
        )  # fmt: skip

    def evaluate(self, embed: Embed) -> PairResult:
        found = checked_embeddings(embed, self.photos)
        self.rows.append(found)
        return super().evaluate(lambda _: found)


def judge_two_sided(protocol: PairList, first: Rows, second: Rows) -> TwoSided:
    """Evaluate the pairs of ``protocol`` with the embeddings ``first`` [N, D] of their first photos and
    ``second`` [N, D] of their second ones. Rows are those of ``protocol.photos``, NaN for a photo without
    an embedding.

    Raises `Misfit` if D differs, `UsageError` as `PairList.evaluate` does.
    """
    if first.shape != second.shape:
        raise Misfit(
            f"embeddings of dimension {first.shape[1]} and {second.shape[1]} cannot be compared",
            "Two models share a space only if one was trained to output the other's embeddings.",
        )
    place = {name: index for index, name in enumerate(protocol.photos)}
    ends = np.array([(place[p.first], place[p.second]) for p in protocol.pairs])
    mated = np.array([p.mated for p in protocol.pairs])
    both = np.concatenate([first, second])
    lost = np.asarray(np.isnan(both).all(axis=1))
    apart = ends + np.array([0, len(first)])
    scores = cosines(both, apart)
    scores[lost[apart].any(axis=1)] = np.nan
    everyone, why = _everyone(protocol, first, second)
    points = tuple(everyone.operating_point(f) for f in ALL_PAIRS_FMRS) if everyone else ()
    gone = lost[: len(first)] | lost[len(first) :]
    listed = judge_listed(protocol, scores, ends, mated, gone)
    result = replace(listed, everyone_points=points, no_all_pairs=why)
    return TwoSided(result, everyone)


def _everyone(protocol: PairList, first: Rows, second: Rows) -> tuple[Against | None, str | None]:
    if protocol.people is None:
        return None, "the folders of the photos do not name people"
    try:
        return against(first, protocol.people, second, protocol.people, same_photos=True), None
    except UsageError as error:
        return None, error.cause
