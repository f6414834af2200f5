"""What an evaluation found: a value that prints itself, serialises and draws itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.accuracy import Accuracy, Fold, cross_validate, summarise
from facekd.verification.allpairs import AllPairs, all_pairs
from facekd.verification.intervals import wilson
from facekd.verification.operating import Lost, OperatingPoint, whole_attempts
from facekd.verification.pictures.plots import roc_figure
from facekd.verification.pictures.scored import Scored, score_all_pairs, score_listed
from facekd.verification.rates import PairRates, pair_rates
from facekd.verification.tables import alone, pair_notes, pair_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from facekd.verification.protocols.pairlist import PairList

#: the false match rates at which all pairs are judged
ALL_PAIRS_FMRS = (1e-3, 1e-4)
#: pairs that are scored at once
_PAIRS = 20_000

Floats = NDArray[np.float64]


class Result(Protocol):
    """What every protocol's evaluation returns."""

    @property
    def failed(self) -> tuple[str, ...]:
        """The photos without an embedding."""
        ...

    def rows(self) -> list[tuple[str, str]]:
        """The table: what a row says, and its cell."""
        ...

    def notes(self) -> list[str]:
        """What a reader of the table must know besides."""
        ...

    def to_dict(self) -> dict[str, Any]: ...
    def figure(self) -> Figure: ...

    @staticmethod
    def figure_of(results: Mapping[str, Any]) -> Figure:
        """Several results of this kind in one figure, by model name."""
        ...

    def __rich__(self) -> RenderableType: ...


@dataclass(frozen=True)
class PairResult:
    """A model on a list of pairs.

    ``scores`` [P] are NaN where a comparison failed; ``right`` [P] says which were decided rightly
    under the cross-validated threshold. ``everyone`` holds all pairs of the photos, or `None` with
    the reason in ``no_all_pairs``. ``failed`` names the photos without an embedding. ``pair_people``
    [P, 2] are the persons of each comparison, `None` where they are not known.
    """

    protocol: str
    source: str
    folds_from: str
    photos: int
    failed: tuple[str, ...]
    scores: Floats
    mated: NDArray[np.bool_]
    right: NDArray[np.bool_]
    folds: tuple[Fold, ...]
    accuracy: Accuracy
    accuracy_with_failures: Accuracy
    rates: PairRates
    everyone: AllPairs | None
    everyone_points: tuple[OperatingPoint, ...]
    no_all_pairs: str | None
    pair_people: NDArray[np.int64] | None = None

    @property
    def completed(self) -> NDArray[np.bool_]:
        return np.isfinite(self.scores)

    @property
    def lost(self) -> Lost:
        """Of the listed comparisons."""
        failed = ~self.completed
        return Lost(int((failed & self.mated).sum()), int((failed & ~self.mated).sum()))

    def curve(self) -> metrics.Roc:
        """The ROC of the completed comparisons."""
        return metrics.roc(
            self.scores[self.mated & self.completed], self.scores[~self.mated & self.completed]
        )

    def scored(self) -> tuple[Scored, ...]:
        """The listed comparisons, and all pairs where they were judged, for pictures."""
        listed = score_completed(self.scores, self.mated, self.pair_people, self.rates.points)
        if self.everyone is None:
            return (listed,)
        return listed, score_all_pairs(self.everyone, self.everyone_points)

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "folds_from": self.folds_from,
            "comparisons": {
                "mated": int(self.mated.sum()),
                "non_mated": int((~self.mated).sum()),
                "failed_mated": self.lost.mated,
                "failed_non_mated": self.lost.non_mated,
            },
            "failures_to_acquire": failures_dict(len(self.failed), self.photos),
            "accuracy": self.accuracy.to_dict(),
            "accuracy_with_failures": self.accuracy_with_failures.to_dict(),
            "folds": [fold.to_dict() for fold in self.folds],
            **self.rates.to_dict(),
            "operating_points": [point.to_dict() for point in self.rates.points],
            "whole_attempts": [found.to_dict() for found in whole_attempts(self.rates.points, self.lost)],
            "all_pairs": self._all_pairs_dict(),
            "caveats": list(self.rates.caveats),
        }

    def _all_pairs_dict(self) -> dict[str, Any]:
        if self.everyone is None:
            return {"absent": self.no_all_pairs}
        return {
            "mated": int(self.everyone.mated.size),
            "non_mated": self.everyone.non_mated,
            "failed_mated": self.everyone.lost_mated,
            "failed_non_mated": self.everyone.lost_non_mated,
            "operating_points": [point.to_dict() for point in self.everyone_points],
            "whole_attempts": [
                found.to_dict() for found in whole_attempts(self.everyone_points, self.everyone.lost)
            ],
        }

    def rows(self) -> list[tuple[str, str]]:
        return pair_rows(self)

    def notes(self) -> list[str]:
        return pair_notes(self)

    def figure(self) -> Figure:
        return self.figure_of({self.protocol: self})

    @staticmethod
    def figure_of(results: Mapping[str, PairResult]) -> Figure:
        return roc_figure(results)

    def __rich__(self) -> RenderableType:
        return alone(self)


def score_completed(
    scores: Floats,
    mated: NDArray[np.bool_],
    people: NDArray[np.int64] | None,
    points: Sequence[OperatingPoint],
) -> Scored:
    """The completed of listed comparisons for pictures: ``scores`` [P], NaN where one failed, ``mated``
    [P] and the ``people`` [P, 2] where they are known."""
    done = np.isfinite(scores)
    yes, no = done & mated, done & ~mated
    known = None if people is None else (people[yes, 0], people[no])
    return score_listed(scores[yes], scores[no], known, points)


def failures_dict(failed: int, photos: int) -> dict[str, Any]:
    """How many photos gave no embedding, as a rate with its interval."""
    return {
        "photos": photos,
        "failed": failed,
        "rate": failed / photos,
        "interval": wilson(failed, photos).to_dict(),
    }


def judge_pairs(
    protocol: PairList, embeddings: NDArray[np.float32], ends: NDArray[np.int64], mated: NDArray[np.bool_]
) -> PairResult:
    """Everything that is said of a model on ``protocol``: ``embeddings`` [N, D] of its photos,
    ``ends`` [P, 2] the photos of each pair, ``mated`` [P]."""
    lost = np.asarray(np.isnan(embeddings).all(axis=1))
    scores = cosines(embeddings, ends)
    scores[lost[ends].any(axis=1)] = np.nan
    everyone, why = _everyone(embeddings, protocol.people)
    points = tuple(everyone.operating_point(f) for f in ALL_PAIRS_FMRS) if everyone else ()
    listed = judge_listed(protocol, scores, ends, mated, lost)
    return replace(listed, everyone=everyone, everyone_points=points, no_all_pairs=why)


def judge_listed(
    protocol: PairList,
    scores: Floats,
    ends: NDArray[np.int64],
    mated: NDArray[np.bool_],
    lost: NDArray[np.bool_],
) -> PairResult:
    """What is said of the listed pairs alone: ``scores`` [P], NaN where a comparison failed, and which
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
    # millions of template pairs at once would take their embeddings many times over
    for start in range(0, len(ends), _PAIRS):
        part = ends[start : start + _PAIRS]
        scores[start : start + _PAIRS] = np.einsum("pd,pd->p", rows[part[:, 0]], rows[part[:, 1]])
    return np.clip(scores, -1, 1)


def listed_rates(
    scores: Floats, mated: NDArray[np.bool_], ends: NDArray[np.int64], people: Sequence[str] | None
) -> PairRates:
    """Rates of the ``scores`` [P] of pairs of the photos ``ends`` [P, 2], NaN where a comparison failed;
    ``people`` are the persons of all photos."""
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
        return None, "the folders of the photos do not name persons"
    try:
        return all_pairs(embeddings, people), None
    except UsageError as error:
        return None, error.cause
