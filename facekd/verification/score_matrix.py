"""Every photo against every other: the scores that low false match rates need.

The comparisons of N photos run into the tens of millions, so they are streamed in blocks. All
mated scores are kept; of the non-mated ones the upper tail is kept exactly, which is all that a
low FMR depends on, with the two persons of each for the bootstrap; the others are counted in a
histogram fine enough to draw the rest of the curve from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.bootstrap import identity_bootstrap, weighted_tar
from facekd.verification.influence_functions import Influence
from facekd.verification.intervals import Interval, extreme_interval, rule_of_three
from facekd.verification.operating_points import Lost, OperatingPoint, enough

#: the largest FMR that the kept tail answers for
HIGHEST_FMR = 0.01
#: the tail goes deeper than that, since a bootstrap replicate may reach further down
TAIL_SHARE = 2 * HIGHEST_FMR
#: however few comparisons there are, this many are kept
_SHORTEST_TAIL = 10_000
#: bins of the histogram in one unit of the score: a power of two, so that edges are exact in binary
BINS_PER_UNIT = 2**14
#: points of a whole curve that are read from the tail
_TAIL_POINTS = 2000
#: a block of scores stays in the processor's cache while it is clipped, counted and sifted
_ROWS, _COLUMNS = 256, 1024
#: kept scores are handled so many at a time, so that what is done to them needs little memory
_AT_ONCE = 2**20
#: more non-mated comparisons than these are not weighed one by one in every replicate, where there
#: are at least so many persons
_WALKED, _MANY = 2**18, 1000
#: the ranks of a long tail between which its weight is drawn straight
_LEVELS = 128

Floats = NDArray[np.float64]
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class AllPairs:
    """The scores of all comparisons among photos of known persons.

    ``mated`` [M] with ``mated_people`` [M]; ``tail`` [K], the highest non-mated scores, falling,
    with ``tail_people`` [K, 2]; ``non_mated`` counts all non-mated comparisons. ``photos`` [P] is
    the number of embedded photos of each person, ``names`` [P] are the persons' labels, rising.
    ``failures`` photos gave no embedding, which lost ``lost_mated`` and ``lost_non_mated``
    comparisons. ``histogram`` [2 * BINS_PER_UNIT + 1] counts all non-mated scores, the tail's too:
    bin b those at or above `bin_edges`[b] and below the next edge.
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
    names: NDArray[Any]
    histogram: NDArray[np.int64]

    @property
    def lost(self) -> Lost:
        return Lost(self.lost_mated, self.lost_non_mated)

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

    def curve(self) -> metrics.Roc:
        """The whole ROC: exact at each of its thresholds, which are some thousand scores of the
        tail for an FMR up to 1e-2 and the edges of the histogram above."""
        most = metrics.allowed_false_matches(self.non_mated, HIGHEST_FMR)
        ranks = np.unique(np.geomspace(1, most, _TAIL_POINTS).astype(np.int64)) if most else np.empty(0, int)
        scores = np.unique(self.tail[ranks - 1])
        if self.tail.size < self.non_mated:
            scores = scores[scores > self.tail[-1]]  # more of the last may have been dropped
        edges = bin_edges()
        edges = edges[edges < (scores[0] if scores.size else np.inf)]
        thresholds = np.concatenate([edges, scores, [np.inf]])
        false = np.concatenate([
            self.histogram[::-1].cumsum()[::-1][: edges.size],
            np.searchsorted(-self.tail, -scores, side="right"),
            [0],
        ])  # fmt: skip
        missed = np.searchsorted(np.sort(self.mated), thresholds, side="left")
        return metrics.Roc(thresholds, false / self.non_mated, missed / self.mated.size)

    def fmr_interval(self, threshold: float) -> Interval:
        """The 95 % interval of the FMR at a fixed threshold of `threshold_at`, persons drawn anew."""
        matches = self.false_matches(threshold)
        if matches == 0:
            return Interval(0.0, rule_of_three(self.non_mated), "rule of three")
        weighed = self._weigher(matches)

        def rate(weights: Floats) -> list[float]:
            total = self._non_mated_weight(weights)
            return [weighed(weights) / total if total else float("nan")]

        by_person = self._fmr_influence(matches)
        influence = Influence(np.zeros(by_person.size), by_person, np.empty(0))
        return identity_bootstrap(rate, self.photos.size, influences=[influence])[0]

    def _tar_interval(self, fmr: float) -> Interval:
        extreme = extreme_interval(self.tar_at(fmr), np.unique(self.mated_people).size)
        if extreme is not None:
            return extreme
        tar = self.drawn_tar(fmr)
        return identity_bootstrap(
            lambda weights: [tar(weights)], self.photos.size, influences=[self.tar_influence(fmr)]
        )[0]

    def weighted_tar_at(self, fmr: float, weights: Floats) -> float:
        """`tar_at` with person i drawn ``weights`` [P] times; NaN where a class is left empty."""
        return self.drawn_tar(fmr)(weights)

    def drawn_tar(self, fmr: float) -> Callable[[Floats], float]:
        """`weighted_tar_at` for many drawings.

        A short tail is weighed pair by pair. In a long one of many persons w_i * w_j is taken as
        w_i + w_j - 1, so that a sum over pairs is one over persons. What is left out of K pairs of P
        persons, (w_i - 1)(w_j - 1), is a share of the order of 1 / P or 1 / sqrt(K), whichever is
        more; what persons move is one of the order of 1 / sqrt(P).
        """
        near = min(self.tail.size, 2 * metrics.allowed_false_matches(self.non_mated, fmr) + 100)
        if self._summed(near):
            return self._tar_by_sums(fmr, near)

        def tar(weights: Floats) -> float:
            total = self._non_mated_weight(weights)
            for depth in (near, self.tail.size):
                tail_weights = _products(weights, self.tail_people[:depth])
                if tail_weights.sum() > total * fmr:
                    break
            mated_weights = weights[self.mated_people]
            return weighted_tar(self.mated, mated_weights, self.tail[:depth], tail_weights, total, fmr)

        return tar

    def _tar_by_sums(self, fmr: float, depth: int) -> Callable[[Floats], float]:
        ranks = np.unique(np.geomspace(depth / 8, depth, _LEVELS).astype(np.int64))
        edges = [0, *ranks.tolist()]
        steps = [self._degrees(low, high) for low, high in pairwise(edges)]
        degrees = np.cumsum(steps, axis=0, dtype=np.float64)

        def tar(weights: Floats) -> float:
            total, mated_weights = self._non_mated_weight(weights), weights[self.mated_people]
            if total == 0 or not mated_weights.any():
                return float("nan")
            reached = np.maximum.accumulate(degrees @ weights - ranks)
            rank = int(np.interp(total * fmr, reached, ranks))
            accepted = self.mated > self.tail[min(rank, self.tail.size - 1)]
            return float(mated_weights[accepted].sum() / mated_weights.sum())

        return tar

    def _summed(self, depth: int) -> bool:
        return depth > _WALKED and self.photos.size >= _MANY

    def _weigher(self, depth: int) -> Callable[[Floats], float]:
        """The weight of the highest ``depth`` non-mated comparisons, as `drawn_tar` takes it."""
        if self._summed(depth):
            degrees = self._degrees(0, depth)
            return lambda weights: float(weights @ degrees) - depth
        return lambda weights: float(_products(weights, self.tail_people[:depth]).sum())

    def tar_influence(self, fmr: float) -> Influence:
        """The influence of the persons [P] on `tar_at` ``fmr``: see `influences.tar_influence`."""
        allowed = metrics.allowed_false_matches(self.non_mated, fmr)
        asked = np.bincount(self.mated_people, minlength=self.photos.size)
        matched = self.mated_people[self.mated > self.tail[allowed]]
        by_mated = np.bincount(matched, minlength=self.photos.size) - matched.size / self.mated.size * asked
        by_person = self._fmr_influence(allowed)
        far = 2 * float(np.sqrt(by_person @ by_person)) * self.non_mated
        ends = np.clip([allowed - far - 1, allowed + far + 1], 0, self.tail.size - 1).astype(np.int64)
        fewer, more = (float((self.mated > score).mean()) for score in self.tail[ends])
        slope = (more - fewer) * self.non_mated / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.0
        return Influence(by_mated / self.mated.size, -slope * by_person, np.empty(0))

    def _fmr_influence(self, matches: int) -> Floats:
        """Of the persons [P] on the share of the highest ``matches`` non-mated comparisons."""
        compared = self.photos * (self.photos.sum() - self.photos)
        return (self._degrees(0, matches) - matches / self.non_mated * compared) / self.non_mated

    def _degrees(self, start: int, stop: int) -> NDArray[np.int64]:
        """In how many of the non-mated comparisons from rank ``start`` to ``stop`` each person is."""
        counts = np.zeros(self.photos.size, np.int64)
        for top in range(start, stop, _AT_ONCE):
            some = self.tail_people[top : min(top + _AT_ONCE, stop)]
            counts += np.bincount(some.ravel(), minlength=counts.size)
        return counts

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
    rows, people, names = _checked(embeddings, labels)
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
    present, dense = np.unique(people, return_inverse=True)
    found = _stream(rows, dense.astype(np.int32), non_mated_count)
    return AllPairs(
        found.mated, found.mated_people, found.tail, found.tail_people, non_mated_count, np.bincount(dense),
        int(failed.sum()), asked_mated - mated_count, asked_non_mated - non_mated_count,
        names[present], found.histogram,
    )  # fmt: skip


def bin_edges() -> NDArray[np.float64]:
    """The lower edges of the bins of `AllPairs.histogram`, from -1 to 1; the last bin holds 1 alone."""
    return np.arange(-BINS_PER_UNIT, BINS_PER_UNIT + 1) / BINS_PER_UNIT


def _checked(embeddings: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float32], Ids, NDArray[Any]]:
    rows, names = np.asarray(embeddings, np.float32), np.asarray(labels)
    if rows.ndim != 2 or names.shape != rows.shape[:1]:
        raise UsageError(
            f"embeddings must be [N, D] and labels [N], got {list(rows.shape)} and {list(names.shape)}"
        )
    absent = np.isnan(rows).all(axis=1)
    if not np.isfinite(rows[~absent]).all():
        raise UsageError("an embedding holds values that are not finite")
    persons, people = np.unique(names, return_inverse=True)
    return rows, people.astype(np.int32), persons


def _counts(people: Ids) -> tuple[int, int]:
    sizes = np.bincount(people).astype(object) if people.size else np.zeros(0, object)
    mated = int((sizes * (sizes - 1)).sum()) // 2
    return mated, people.size * (people.size - 1) // 2 - mated


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise UsageError("an embedding has no length")
    return rows / lengths


@dataclass(frozen=True)
class _Found:
    mated: NDArray[np.float64]
    mated_people: Ids
    tail: NDArray[np.float64]
    tail_people: Ids
    histogram: NDArray[np.int64]


def _stream(rows: NDArray[np.float32], people: Ids, non_mated: int) -> _Found:
    tail = _Tail(max(_SHORTEST_TAIL, int(np.ceil(non_mated * TAIL_SHARE))))
    mated: list[NDArray[np.float32]] = []
    whose: list[Ids] = []
    for top, left, scores in _blocks(rows):
        height, width = scores.shape
        row_people, column_people = people[top : top + height], people[left : left + width]
        if column_people[0] > row_people[-1]:
            tail.add(scores, row_people, column_people)
            continue
        same = row_people[:, None] == column_people[None, :]
        above = np.arange(top, top + height)[:, None] < np.arange(left, left + width)[None, :]
        own = np.nonzero(same & above)
        mated.append(scores[own])
        whose.append(row_people[own[0]])
        one, other = np.nonzero(~same & above)
        tail.add(scores[one, other], row_people[one], column_people[other])
    return _Found(
        np.concatenate(mated).astype(np.float64), np.concatenate(whose), *tail.falling(), tail.histogram
    )


def _blocks(rows: NDArray[np.float32]) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Cosines on and above the diagonal: first row, first column, block."""
    for top in range(0, len(rows), _ROWS):
        for left in range(top, len(rows), _COLUMNS):
            scores = rows[top : top + _ROWS] @ rows[left : left + _COLUMNS].T
            # rounding may carry the cosine of a repeated photo past one
            yield top, left, np.clip(scores, -1, 1, out=scores)


class _Tail:
    """The highest ``size`` scores of a stream with the persons of each, and a histogram of all.

    Kept scores stand in arrays that are made once, a quarter longer than ``size``; where they would
    not hold a block any more, what is too low is dropped in place.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        #: scores at or below this cannot be among the highest any more
        self._floor = np.float32(-np.inf)
        room = size + size // 4 + _ROWS * _COLUMNS
        self._scores = np.empty(room, np.float32)
        self._one, self._other = np.empty(room, np.int32), np.empty(room, np.int32)
        self._kept = 0
        self.histogram = np.zeros(2 * BINS_PER_UNIT + 1, np.int64)

    def add(self, scores: NDArray[np.float32], one: Ids, other: Ids) -> None:
        """``scores`` [S] of persons ``one`` [S] and ``other`` [S], or a block of them [H, W] of the
        persons of its rows ``one`` [H] and of its columns ``other`` [W]."""
        flat = scores.ravel()
        bins = np.floor(flat * np.float32(BINS_PER_UNIT)).astype(np.intp)
        bins += BINS_PER_UNIT
        self.histogram += np.bincount(bins, minlength=self.histogram.size)
        found = np.flatnonzero(flat > self._floor)
        if self._kept + found.size > self._scores.size:
            self._cut()
        place = slice(self._kept, self._kept + found.size)
        self._scores[place] = flat[found]
        rows, columns = np.divmod(found, other.size) if scores.ndim == 2 else (found, found)
        self._one[place], self._other[place] = one[rows], other[columns]
        self._kept += found.size

    def _cut(self) -> None:
        """Drop what is too low. The histogram tells what is, so that nothing need be sorted."""
        at_least = self.histogram[::-1].cumsum()[::-1]
        edge = np.float32(bin_edges()[np.flatnonzero(at_least >= self._size)[-1]])
        self._keep(edge, self._kept)
        self._floor = max(self._floor, np.nextafter(edge, np.float32(-2)))
        if self._kept > self._size + self._size // 8:
            self._cut_within_a_bin()

    def _cut_within_a_bin(self) -> None:
        """Keep ``size`` scores where one bin holds many, as those of a model that tells nobody apart."""
        scores, place = self._scores[: self._kept], self._kept - self._size
        edge = np.partition(scores, place)[place]
        self._keep(edge, self._size - int((scores > edge).sum()))
        self._floor = edge

    def _keep(self, edge: np.float32, ties: int) -> None:
        """Keep what lies above ``edge``, and the first ``ties`` of what equals it."""
        place = 0
        for top in range(0, self._kept, _AT_ONCE):
            some = slice(top, min(top + _AT_ONCE, self._kept))
            level = np.flatnonzero(self._scores[some] == edge)
            high = self._scores[some] > edge
            high[level[:ties]] = True
            ties -= min(ties, level.size)
            end = place + int(high.sum())
            for column in (self._scores, self._one, self._other):
                column[place:end] = column[some][high]
            place = end
        self._kept = place

    def falling(self) -> tuple[Floats, Ids]:
        """The kept scores [K], falling, and their persons [K, 2]. Sorted a run of bins at a time."""
        if self._kept > self._size:
            self._cut()
        if self._kept > self._size:
            self._cut_within_a_bin()
        scores, place = self._scores[: self._kept], 0
        tail, people = np.empty(self._kept), np.empty((self._kept, 2), np.int32)
        for low, high in _runs(self.histogram, self._kept):
            found = np.flatnonzero((scores >= low) & (scores < high))
            found = found[np.argsort(-scores[found], kind="stable")]
            end = place + found.size
            tail[place:end] = scores[found]
            people[place:end, 0], people[place:end, 1] = self._one[found], self._other[found]
            place = end
        return tail, people


def _runs(histogram: NDArray[np.int64], kept: int) -> Iterator[tuple[np.float32, np.float32]]:
    """From the top, the edges between which about `_AT_ONCE` scores lie, or one bin that has more,
    until the highest ``kept`` are in."""
    edges, above = bin_edges().astype(np.float32), histogram[::-1].cumsum()[::-1]
    high, done = np.float32(np.inf), 0
    while done < kept:
        bin_ = int(np.flatnonzero(above >= min(done + _AT_ONCE, kept))[-1])
        yield edges[bin_], high
        high, done = edges[bin_], int(above[bin_])


def _products(weights: Floats, pairs: Ids) -> Floats:
    return weights[pairs[:, 0]] * weights[pairs[:, 1]]
