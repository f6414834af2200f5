"""Every photo against every other.

In addition to the scores that low false match rates need, all non-mated scores are counted in a histogram
fine enough to plot the rest of the curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.intervals import Interval
from facekd.verification.kept_scores import (
    HIGHEST_FMR,
    TAIL_SHARE,
    Counts,
    Floats,
    KeptScores,
    products,
    sift,
)
from facekd.verification.operating_points import Lost
from facekd.verification.score_matrix import UpperTail, acquired, bin_edges, blocks, checked, unit

#: the fewest scores that are kept
_SHORTEST_TAIL = 10_000
#: above this number of non-mated comparisons, and with at least this many people, comparisons are not
#: weighted one by one in every replicate
_WALKED, _MANY = 2**18, 1000
#: the ranks of a long tail between which its weight is interpolated
_LEVELS = 128


@dataclass(frozen=True)
class AllPairs(KeptScores):
    """The scores of all comparisons among photos of known people.

    ``photos`` [P] is the number of embedded photos of each person. ``failures`` photos have no
    embedding, which cost ``lost_mated`` and ``lost_non_mated`` comparisons. ``histogram``
    [2 * BINS_PER_UNIT + 1] counts all non-mated scores, including the tail's: bin b those at or above
    `bin_edges`[b] and below the next edge.
    """

    photos: Counts
    failures: int
    lost_mated: int
    lost_non_mated: int
    histogram: Counts

    @property
    def lost(self) -> Lost:
        return Lost(self.lost_mated, self.lost_non_mated)

    @property
    def identity_pairs(self) -> int:
        persons = int((self.photos > 0).sum())
        return persons * (persons - 1) // 2

    def compared_with_others(self) -> Counts:
        return self.photos * (self.photos.sum() - self.photos)

    def drawn_non_mated(self, weights: Floats) -> float:
        drawn = weights * self.photos
        return float((drawn.sum() ** 2 - (drawn**2).sum()) / 2)

    def curve(self) -> metrics.Roc:
        """The whole ROC, exact at each of its thresholds: about a thousand scores of the
        tail for an FMR up to 1e-2, and the edges of the histogram above it."""
        scores = self._tail_scores(metrics.allowed_false_matches(self.non_mated, HIGHEST_FMR))
        edges = bin_edges()
        edges = edges[edges < (scores[0] if scores.size else np.inf)]
        return self._roc(edges, self.histogram[::-1].cumsum()[::-1][: edges.size], scores)

    def fmr_interval(self, threshold: float) -> Interval:
        """The 95 % interval of the FMR at a fixed threshold of `threshold_at`, with people resampled."""
        false = self.false_matches(threshold)
        by_person = self._in_tail(0, false)

        def weigh(weights: Floats) -> float:
            if self._summed(false):
                return float(weights @ by_person) - false
            return float(products(weights, self.tail_people[:false]).sum())

        return self._fmr_interval(weigh, by_person, false)

    def drawn_tar(self, fmr: float) -> Callable[[Floats], float]:
        """As `KeptScores.drawn_tar`: a short tail is weighted pair by pair. In a long one of many people
        w_i * w_j is approximated by w_i + w_j - 1, so that a sum over pairs is one over people. The error
        for K pairs of P people, (w_i - 1)(w_j - 1), is a share of the order of 1 / P or 1 / sqrt(K),
        whichever is larger; the effect of the people themselves is of the order of 1 / sqrt(P).
        """
        depth = self._near(fmr)
        if not self._summed(depth):
            return super().drawn_tar(fmr)
        ranks = np.unique(np.geomspace(depth / 8, depth, _LEVELS).astype(np.int64))
        steps = [self._in_tail(low, high) for low, high in pairwise([0, *ranks.tolist()])]
        degrees = np.cumsum(steps, axis=0, dtype=np.float64)

        def tar(weights: Floats) -> float:
            total, mated_weights = self.drawn_non_mated(weights), weights[self.mated_people]
            if total == 0 or not mated_weights.any():
                return float("nan")
            reached = np.maximum.accumulate(degrees @ weights - ranks)
            rank = int(np.interp(total * fmr, reached, ranks))
            accepted = self.mated > self.tail[min(rank, self.tail.size - 1)]
            return float(mated_weights[accepted].sum() / mated_weights.sum())

        return tar

    def _summed(self, depth: int) -> bool:
        return depth > _WALKED and self.photos.size >= _MANY


def all_pairs(embeddings: ArrayLike, labels: ArrayLike) -> AllPairs:
    """Compare every photo with every other.

    ``embeddings`` [N, D] (rows of any length except zero; a row of NaN is a failure to acquire) and
    ``labels`` [N], one value for each person. Scores are cosines in float32. Needs a few times
    12 bytes for each kept score and 4 for each number of ``embeddings``.

    Raises `UsageError` if shapes disagree, values are not finite, or there is no mated or no
    non-mated comparison.
    """
    rows, given = checked(embeddings, labels)
    asked_mated, asked_non_mated = _counts(np.unique(given, return_counts=True)[1])
    there = acquired(rows)
    names, people = np.unique(given[there], return_inverse=True)
    photos = np.bincount(people, minlength=names.size)
    mated, non_mated = _counts(photos)
    if mated == 0 or non_mated == 0:
        kind = "mated" if mated == 0 else "non-mated"
        raise UsageError(
            f"there is no {kind} comparison among {people.size} embedded photos",
            "All-pairs rates need two people, one of them with two photos.",
        )
    # sorted by person, mated comparisons are next to the diagonal
    order = np.argsort(people, kind="stable")
    rows, whose = unit(rows[np.flatnonzero(there)[order]]), people[order].astype(np.int32)
    tail = UpperTail(max(_SHORTEST_TAIL, int(np.ceil(non_mated * TAIL_SHARE))))
    histogram = np.zeros(bin_edges().size, np.int64)
    kept = sift(blocks(rows), whose, whose, lambda block: block.above, tail, histogram)
    return AllPairs(
        *kept, non_mated, names, photos, int((~there).sum()), asked_mated - mated,
        asked_non_mated - non_mated, histogram,
    )  # fmt: skip


def _counts(photos: Counts) -> tuple[int, int]:
    """The numbers of mated and non-mated comparisons with this many ``photos`` [P] of each person."""
    sizes = photos.astype(object)
    mated, total = int((sizes * (sizes - 1)).sum()) // 2, int(sizes.sum())
    return mated, total * (total - 1) // 2 - mated
