"""All scores between two sets of embeddings, block by block, and the highest of them.

The comparisons of N photos run into the tens of millions, so only one block of them is in
memory at a time. Code that counts or collects scores is a loop over `blocks`; the upper tail, on which
low false match rates depend, is kept exactly by `UpperTail`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError

#: a block of scores fits the processor's cache while it is clipped, counted and filtered
_ROWS, _COLUMNS = 256, 1024
#: kept scores are processed in portions of this size, to save memory
_AT_ONCE = 2**20
#: histogram bins per unit of score: a power of two, so that edges are exact in binary
BINS_PER_UNIT = 2**14

Rows = NDArray[np.float32]
Ids = NDArray[np.int32]


def checked(embeddings: ArrayLike, labels: ArrayLike) -> tuple[Rows, NDArray[Any]]:
    """``embeddings`` [N, D] in single precision and the ``labels`` [N] of their people.

    Raises `UsageError` if the shapes disagree or a row that is not all NaN is not finite.
    """
    rows, names = np.asarray(embeddings, np.float32), np.asarray(labels)
    if rows.ndim != 2 or names.shape != rows.shape[:1]:
        raise UsageError(
            f"embeddings must be [N, D] and labels [N], got {list(rows.shape)} and {list(names.shape)}"
        )
    if not np.isfinite(rows[acquired(rows)]).all():
        raise UsageError("an embedding has values that are not finite")
    return rows, names


def acquired(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of ``rows`` [N, D] are embeddings: a row of NaN is a failure to acquire."""
    return ~np.asarray(np.isnan(rows).all(axis=1))


def unit(rows: Rows) -> Rows:
    """``rows`` [N, D] scaled to unit length; raises `UsageError` if one has length zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise UsageError("an embedding has length zero")
    return rows / lengths


@dataclass(frozen=True)
class Block:
    """The ``scores`` [H, W] of the ``rows`` with the ``columns`` of a matrix."""

    scores: Rows
    rows: slice
    columns: slice

    @property
    def above(self) -> NDArray[np.bool_]:
        """The part [H, W] above the diagonal, which contains each pair of two rows of one set once."""
        rows, columns = (np.arange(side.start, side.stop) for side in (self.rows, self.columns))
        return rows[:, None] < columns


def blocks(rows: Rows, columns: Rows | None = None, height: int = _ROWS) -> Iterator[Block]:
    """The cosines of unit ``rows`` [N, D] with unit ``columns`` [M, D], ``height`` rows with all columns
    at a time; without ``columns``, of the rows with each other, in the blocks on and above the diagonal."""
    others = rows if columns is None else columns
    width = _COLUMNS if columns is None else max(1, len(others))
    for top in range(0, len(rows), height):
        for left in range(top if columns is None else 0, len(others), width):
            scores = rows[top : top + height] @ others[left : left + width].T
            # rounding may give a repeated photo a cosine above one
            np.clip(scores, -1, 1, out=scores)
            yield Block(scores, slice(top, top + len(scores)), slice(left, left + scores.shape[1]))


def bin_edges() -> NDArray[np.float64]:
    """The lower edges of the bins of `histogram`, from -1 to 1; the last bin contains 1 only."""
    return np.arange(-BINS_PER_UNIT, BINS_PER_UNIT + 1) / BINS_PER_UNIT


def histogram(scores: Rows) -> NDArray[np.int64]:
    """How many ``scores`` are in each bin, at or above its edge and below the next; minus infinity is in
    none."""
    scaled = scores.ravel() * np.float32(BINS_PER_UNIT)
    # a bin below all others for scores that do not count
    bins = np.floor(np.maximum(scaled, -BINS_PER_UNIT - 1, out=scaled)).astype(np.intp)
    bins += BINS_PER_UNIT + 1
    return np.bincount(bins, minlength=2 * BINS_PER_UNIT + 2)[1:]


class UpperTail:
    """The highest ``size`` scores of a stream with the two numbers, of people or rows, of each.

    If scores tie at the edge, the first are kept. Kept scores are in arrays allocated once,
    a quarter longer than ``size``; if the next block does not fit, scores that are too low are removed
    in place.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        #: scores at or below this can no longer be among the highest
        self._floor = np.float32(-np.inf)
        room = size + size // 4 + _ROWS * _COLUMNS
        self._scores = np.empty(room, np.float32)
        self._one, self._other = np.empty(room, np.int32), np.empty(room, np.int32)
        self._kept = 0

    def add(self, scores: Rows, one: NDArray[np.integer], other: NDArray[np.integer]) -> None:
        """Add a block of ``scores`` [H, W], minus infinity for those that do not count, with the numbers of
        its rows ``one`` [H] and of its columns ``other`` [W]."""
        flat = scores.ravel()
        for start in range(0, flat.size, _ROWS * _COLUMNS):
            found = np.flatnonzero(flat[start : start + _ROWS * _COLUMNS] > self._floor)
            if self._kept + found.size > self._scores.size:
                self._cut()
            found += start
            place = slice(self._kept, self._kept + found.size)
            self._scores[place] = flat[found]
            rows, columns = np.divmod(found, other.size)
            self._one[place], self._other[place] = one[rows], other[columns]
            self._kept += found.size

    def _cut(self) -> None:
        """Keep the highest, in the order in which they came."""
        scores, lowest = self._scores[: self._kept], self._kept - self._size
        self._floor = np.partition(scores, lowest)[lowest]
        ties = self._size - int((scores > self._floor).sum())
        place = 0
        for top in range(0, self._kept, _AT_ONCE):
            some = slice(top, min(top + _AT_ONCE, self._kept))
            level = np.flatnonzero(self._scores[some] == self._floor)
            high = self._scores[some] > self._floor
            high[level[:ties]] = True
            ties -= min(ties, level.size)
            end = place + int(high.sum())
            for column in (self._scores, self._one, self._other):
                column[place:end] = column[some][high]
            place = end
        self._kept = place

    def falling(self) -> tuple[NDArray[np.float64], Ids]:
        """The kept scores [K], descending, and their numbers [K, 2]; ties in the order in which they came."""
        if self._kept > self._size:
            self._cut()
        scores = self._scores[: self._kept]
        ranks = np.arange(0, self._kept, _AT_ONCE)
        # sorted run by run, from the highest
        lows = np.unique(np.partition(scores, ranks)[ranks])[::-1]
        tail, numbers = np.empty(self._kept), np.empty((self._kept, 2), np.int32)
        place = 0
        for low, high in zip(lows, [np.inf, *lows], strict=False):
            found = np.flatnonzero((scores >= low) & (scores < high))
            found = found[np.argsort(-scores[found], kind="stable")]
            end = place + found.size
            tail[place:end] = scores[found]
            numbers[place:end, 0], numbers[place:end, 1] = self._one[found], self._other[found]
            place = end
        return tail, numbers
