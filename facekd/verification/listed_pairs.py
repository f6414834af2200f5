"""Evaluate a model on a list of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification.accuracy import cross_validate, summarise
from facekd.verification.pair_rates import pair_rates
from facekd.verification.photo_scores import AllPairs, all_pairs
from facekd.verification.results import PairRates, PairResult

#: the false match rates for all pairs
ALL_PAIRS_FMRS = (1e-3, 1e-4)


#: pairs that are scored at once
_PAIRS = 20_000


Floats = NDArray[np.float64]


class Listed(Protocol):
    """What the evaluation of a list of pairs needs; see `facekd.verification.protocols.PairList`."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def photos(self) -> Sequence[str]: ...
    @property
    def people(self) -> Sequence[str] | None: ...
    @property
    def fold(self) -> NDArray[np.int64]: ...
    @property
    def fold_names(self) -> tuple[str, ...]: ...
    @property
    def folds_from(self) -> str: ...


def judge_pairs(
    protocol: Listed, embeddings: NDArray[np.float32], ends: NDArray[np.int64], mated: NDArray[np.bool_]
) -> PairResult:
    """The result of a model on ``protocol``: ``embeddings`` [N, D] of its photos,
    ``ends`` [P, 2] the photos of each pair, ``mated`` [P]."""
    lost = np.asarray(np.isnan(embeddings).all(axis=1))
    scores = cosines(embeddings, ends)
    scores[lost[ends].any(axis=1)] = np.nan
    everyone, why = _everyone(embeddings, protocol.people)
    points = tuple(everyone.operating_point(f) for f in ALL_PAIRS_FMRS) if everyone else ()
    listed = judge_listed(protocol, scores, ends, mated, lost)
    return replace(listed, everyone=everyone, everyone_points=points, no_all_pairs=why)


def judge_listed(
    protocol: Listed,
    scores: Floats,
    ends: NDArray[np.int64],
    mated: NDArray[np.bool_],
    lost: NDArray[np.bool_],
) -> PairResult:
    """The result for the listed pairs alone: ``scores`` [P], NaN if a comparison failed, and which
    photos [N] were ``lost``; the rest as in `judge_pairs`."""
    people = protocol.people
    folds, right = cross_validate(scores, mated, protocol.fold, protocol.fold_names)
    return PairResult(
        protocol=protocol.name,
        source=protocol.source,
        folds_from=protocol.folds_from,
        photos=len(lost),
        failed=tuple(name for name, gone in zip(protocol.photos, lost, strict=True) if gone),
        scores=scores,
        mated=mated,
        right=right,
        folds=folds,
        accuracy=summarise(folds),
        accuracy_with_failures=summarise(folds, with_failures=True),
        rates=listed_rates(scores, mated, ends, people),
        everyone=None,
        everyone_points=(),
        no_all_pairs=None,
        pair_people=None if people is None else np.unique(people, return_inverse=True)[1][ends],
    )


def cosines(embeddings: NDArray[np.float32], ends: NDArray[np.int64]) -> Floats:
    """The score of each pair: rows ``ends`` [P, 2] of ``embeddings`` [N, D], of any length but 0."""
    rows = embeddings.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = np.empty(len(ends))
    # scoring millions of template pairs at once would copy their embeddings many times over
    for start in range(0, len(ends), _PAIRS):
        part = ends[start : start + _PAIRS]
        scores[start : start + _PAIRS] = np.einsum("pd,pd->p", rows[part[:, 0]], rows[part[:, 1]])
    return np.clip(scores, -1, 1)


def listed_rates(
    scores: Floats, mated: NDArray[np.bool_], ends: NDArray[np.int64], people: Sequence[str] | None
) -> PairRates:
    """Rates of the ``scores`` [P] of pairs of the photos ``ends`` [P, 2], NaN if a comparison failed;
    ``people`` are the identities of all photos."""
    completed = np.isfinite(scores)
    yes, no = completed & mated, completed & ~mated
    if people is None:
        return pair_rates(scores[yes], scores[no], None, None)
    person = np.unique(people, return_inverse=True)[1]
    return pair_rates(scores[yes], scores[no], person[ends[yes, 0]], person[ends[no]])


def _everyone(
    embeddings: NDArray[np.float32], people: Sequence[str] | None
) -> tuple[AllPairs | None, str | None]:
    if people is None:
        return None, "the folders of the photos do not name people"
    try:
        return all_pairs(embeddings, people), None
    except UsageError as error:
        return None, error.cause
