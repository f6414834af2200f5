"""Every photo against every other: the scores that low false match rates need.

The comparisons of N photos run into the tens of millions, so they are streamed in blocks. All
mated scores are kept; of the non-mated ones the upper tail is kept exactly, which is all that a
low FMR depends on, with the two persons of each for the bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.intervals import Interval, identity_bootstrap, rule_of_three, weighted_tar
from facekd.verification.operating import OperatingPoint, enough

#: the largest FMR that the kept tail answers for
HIGHEST_FMR = 0.01
#: the tail goes deeper than that, since a bootstrap replicate may reach further down
TAIL_SHARE = 2 * HIGHEST_FMR
#: however few comparisons there are, this many are kept
_SHORTEST_TAIL = 10_000
_ROWS, _COLUMNS = 256, 4096

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class AllPairs:
    """The scores of all comparisons among photos of known persons.

    ``mated`` [M] with ``mated_people`` [M]; ``tail`` [K], the highest non-mated scores, falling,
    with ``tail_people`` [K, 2]; ``non_mated`` counts all non-mated comparisons. ``photos`` [P] is
    the number of embedded photos of each person. ``failures`` photos gave no embedding, which
    lost ``lost_mated`` and ``lost_non_mated`` comparisons.
    """

    mated: NDArray[np.float64]
    mated_people: Ids
    tail: NDArray[np.float64]
    tail_people: Ids
    non_mated: int
    photos: NDArray[np.int64]
    failures: int
    lost_mated: int
    lost_non_mated: int

    def threshold_at(self, fmr: float) -> float:
        """The smallest threshold whose FMR is at most ``fmr``, as `metrics.threshold_at_fmr`.

        Raises `UsageError` for an FMR above 1e-2, below which alone the tail is kept.
        """
        if fmr > HIGHEST_FMR and self.tail.size < self.non_mated:
            raise UsageError(f"all-pairs scores are kept for FMR {HIGHEST_FMR:g} and below, not {fmr:g}")
        allowed = metrics.allowed_false_matches(self.non_mated, fmr)
        return metrics.threshold_above(float(self.tail[allowed]), self.mated, self.tail)

    def tar_at(self, fmr: float) -> float:
        """The share of completed mated comparisons that match at ``fmr``.

        The bare number, for choosing among models on the same data; what is told to people is
        `operating_point`, which knows when the data is too little.
        """
        return 1 - metrics.fnmr_at(self.mated, self.threshold_at(fmr))

    def false_matches(self, threshold: float) -> int:
        """How many non-mated comparisons match at a threshold of `threshold_at`."""
        return int((self.tail >= threshold).sum())

    def operating_point(self, fmr: float) -> OperatingPoint:
        """TAR at ``fmr`` with its interval, or why the data is insufficient."""
        if not enough(self.non_mated, fmr):
            return OperatingPoint(fmr, self.mated.size, self.non_mated)
        threshold = self.threshold_at(fmr)
        return OperatingPoint(
            fmr, self.mated.size, self.non_mated, self.tar_at(fmr), threshold,
            self._tar_interval(fmr), self.false_matches(threshold),
        )  # fmt: skip

    def fmr_interval(self, threshold: float) -> Interval:
        """The 95 % interval of the FMR at a fixed threshold of `threshold_at`, persons drawn anew."""
        matches = self.tail_people[: self.false_matches(threshold)]
        if len(matches) == 0:
            return Interval(0.0, rule_of_three(self.non_mated), "rule of three")

        def rate(weights: NDArray[np.float64]) -> list[float]:
            total = self._non_mated_weight(weights)
            false = (weights[matches[:, 0]] * weights[matches[:, 1]]).sum()
            return [float(false / total) if total else float("nan")]

        return identity_bootstrap(rate, self.photos.size)[0]

    def _tar_interval(self, fmr: float) -> Interval:
        if self.tar_at(fmr) == 1:
            # no error to draw from: bound it by the persons, the units that are independent
            people = np.unique(self.mated_people).size
            return Interval(1 - rule_of_three(people), 1.0, "rule of three over identities")
        near = min(self.tail.size, 2 * metrics.allowed_false_matches(self.non_mated, fmr) + 100)

        def tar(weights: NDArray[np.float64]) -> list[float]:
            total = self._non_mated_weight(weights)
            for depth in (near, self.tail.size):
                pairs = self.tail_people[:depth]
                tail_weights = weights[pairs[:, 0]] * weights[pairs[:, 1]]
                if tail_weights.sum() > total * fmr:
                    break
            mated_weights = weights[self.mated_people]
            return [weighted_tar(self.mated, mated_weights, self.tail[:depth], tail_weights, total, fmr)]

        return identity_bootstrap(tar, self.photos.size)[0]

    def _non_mated_weight(self, weights: NDArray[np.float64]) -> float:
        drawn = weights * self.photos
        return float((drawn.sum() ** 2 - (drawn**2).sum()) / 2)


def all_pairs(embeddings: ArrayLike, labels: ArrayLike) -> AllPairs:
    """Compare every photo with every other.

    ``embeddings`` [N, D] (rows of any length but zero; a row of NaN is a failure to acquire) and
    ``labels`` [N], one value for each person. Scores are cosines in float32. Needs a few times
    12 bytes for each kept score and 4 for each number of ``embeddings``.

    Raises `UsageError` where shapes disagree, values are not finite, or there is no mated or no
    non-mated comparison.
    """
    rows, people = _checked(embeddings, labels)
    failed = np.isnan(rows).all(axis=1)
    asked_mated, asked_non_mated = _counts(people)
    rows, people = rows[~failed], people[~failed]
    # sorted by person, mated comparisons lie beside the diagonal
    order = np.argsort(people, kind="stable")
    rows, people = _unit(rows[order]), people[order]
    mated_count, non_mated_count = _counts(people)
    if mated_count == 0 or non_mated_count == 0:
        kind = "mated" if mated_count == 0 else "non-mated"
        raise UsageError(
            f"there is no {kind} comparison among {len(rows)} embedded photos",
            "All-pairs rates need two persons, one of them with two photos.",
        )
    dense = np.unique(people, return_inverse=True)[1].astype(np.int32)
    mated, mated_people, tail, tail_people = _stream(rows, dense, non_mated_count)
    return AllPairs(
        mated, mated_people, tail, tail_people, non_mated_count, np.bincount(dense),
        int(failed.sum()), asked_mated - mated_count, asked_non_mated - non_mated_count,
    )  # fmt: skip


def _checked(embeddings: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float32], Ids]:
    rows, names = np.asarray(embeddings, np.float32), np.asarray(labels)
    if rows.ndim != 2 or names.shape != rows.shape[:1]:
        raise UsageError(
            f"embeddings must be [N, D] and labels [N], got {list(rows.shape)} and {list(names.shape)}"
        )
    absent = np.isnan(rows).all(axis=1)
    if not np.isfinite(rows[~absent]).all():
        raise UsageError("an embedding holds values that are not finite")
    return rows, np.unique(names, return_inverse=True)[1].astype(np.int32)


def _counts(people: Ids) -> tuple[int, int]:
    sizes = np.bincount(people).astype(object) if people.size else np.zeros(0, object)
    mated = int((sizes * (sizes - 1)).sum()) // 2
    return mated, people.size * (people.size - 1) // 2 - mated


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise UsageError("an embedding has no length")
    return rows / lengths


def _stream(
    rows: NDArray[np.float32], people: Ids, non_mated: int
) -> tuple[NDArray[np.float64], Ids, NDArray[np.float64], Ids]:
    tail = _Tail(max(_SHORTEST_TAIL, int(np.ceil(non_mated * TAIL_SHARE))))
    mated: list[NDArray[np.float32]] = []
    whose: list[Ids] = []
    for top, left, scores in _blocks(rows):
        height, width = scores.shape
        row_people, column_people = people[top : top + height], people[left : left + width]
        if column_people[0] <= row_people[-1]:
            same = row_people[:, None] == column_people[None, :]
            above = np.arange(top, top + height)[:, None] < np.arange(left, left + width)[None, :]
            own = np.nonzero(same & above)
            mated.append(scores[own])
            whose.append(row_people[own[0]])
            scores[same | ~above] = -np.inf
        found = np.flatnonzero(scores > tail.floor)
        tail.add(scores.ravel()[found], row_people[found // width], column_people[found % width])
    tail.cut()
    order = np.argsort(-tail.scores, kind="stable")
    pairs = np.stack([tail.one[order], tail.other[order]], axis=1)
    return (
        np.concatenate(mated).astype(np.float64), np.concatenate(whose),
        tail.scores[order].astype(np.float64), pairs,
    )  # fmt: skip


def _blocks(rows: NDArray[np.float32]) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Cosines on and above the diagonal: first row, first column, block."""
    for top in range(0, len(rows), _ROWS):
        for left in range(top, len(rows), _COLUMNS):
            scores = rows[top : top + _ROWS] @ rows[left : left + _COLUMNS].T
            # rounding may carry the cosine of a repeated photo past one
            yield top, left, np.clip(scores, -1, 1, out=scores)


class _Tail:
    """The highest ``size`` scores of a stream, with the persons of each."""

    def __init__(self, size: int) -> None:
        self._size = size
        #: scores at or below this cannot be among the highest any more
        self.floor = np.float32(-np.inf)
        self.scores = np.empty(0, np.float32)
        self.one = self.other = np.empty(0, np.int32)
        self._waiting: list[tuple[NDArray[np.float32], Ids, Ids]] = []
        self._count = 0

    def add(self, scores: NDArray[np.float32], one: Ids, other: Ids) -> None:
        self._waiting.append((scores, one, other))
        self._count += scores.size
        if self._count > self._size:
            self.cut()

    def cut(self) -> None:
        """Merge what waits and drop what is too low."""
        parts = [(self.scores, self.one, self.other), *self._waiting]
        self.scores, self.one, self.other = (np.concatenate(column) for column in zip(*parts, strict=True))
        self._waiting, self._count = [], 0
        if self.scores.size > self._size:
            kept = np.argpartition(-self.scores, self._size - 1)[: self._size]
            self.scores, self.one, self.other = self.scores[kept], self.one[kept], self.other[kept]
            self.floor = self.scores.min()
