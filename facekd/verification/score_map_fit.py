"""Fit a score map, and measure its cost on people that it was not fitted on.

All comparisons of all photos are used, so their scores are binned as they are computed, and the fits see
bins with counts. People are divided into folds; all figures of a map were measured on comparisons
within a fold, with a map fitted on comparisons in which neither person is in that fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.card import IsotonicCurve, LogisticCurve, ScoreMap
from facekd.errors import UsageError
from facekd.verification.calibration import Conditions
from facekd.verification.costs import least_cllr, weighted_cllr
from facekd.verification.score_map import Floats, log_likelihood_ratio
from facekd.verification.score_matrix import blocks

Kind = Literal["logistic", "isotonic"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: folds of people; fewer if there are fewer people
FOLDS = 5
#: bins of equal width per unit of score; binning moves a score by at most half a bin, 3e-5
_BINS = 2**14
#: the scores of the bins, -1 to 1
LEVELS: Floats = np.arange(-_BINS, _BINS + 1) / _BINS

Tally = NDArray[np.int64]


@dataclass(frozen=True)
class ScoreCounts:
    """How many comparisons have the score of each of `LEVELS` [L], by the folds of the two people.

    ``mated`` [F, L]; ``non_mated`` [F, F, L], the lower fold first.
    """

    mated: Tally
    non_mated: Tally

    @property
    def folds(self) -> int:
        return len(self.mated)

    def all(self) -> tuple[Tally, Tally]:
        """The mated [L] and non-mated [L] counts of everybody."""
        return self.mated.sum(0), self.non_mated.sum((0, 1))

    def within(self, fold: int) -> tuple[Tally, Tally]:
        """The counts with both people in ``fold``."""
        return self.mated[fold], self.non_mated[fold, fold]

    def without(self, fold: int) -> tuple[Tally, Tally]:
        """The counts with neither person in ``fold``."""
        others = np.delete(np.arange(self.folds), fold)
        return self.mated[others].sum(0), self.non_mated[np.ix_(others, others)].sum((0, 1))


@dataclass(frozen=True)
class FittedMap:
    """The kind of curve with the least cost on people it was not fitted on, fitted on everybody.

    ``cllrs`` has the held-out cost of each kind, in bits; ``min_cllr`` is the least cost of any increasing
    curve on the same comparisons.
    """

    curve: LogisticCurve | IsotonicCurve
    cllrs: dict[Kind, float]
    min_cllr: float
    folds: int

    @property
    def cllr(self) -> float:
        return self.cllrs[self.curve.kind]

    def for_card(self, conditions: Conditions) -> ScoreMap | None:
        """The map as a card states it; `None` if the ``conditions`` name no sample."""
        if conditions.sample is None:
            return None
        return ScoreMap(curve=self.curve, cllr=self.cllr, min_cllr=self.min_cllr, **conditions.stated())


def fit_map(embeddings: ArrayLike, labels: ArrayLike) -> FittedMap:
    """The map from scores to evidence, from all comparisons among ``embeddings`` [N, D] (unit rows; a
    row of NaN is a failure to acquire) of people ``labels`` [N].

    Raises `UsageError` if fewer than four people have two embedded photos, or mated comparisons
    do not score above non-mated ones.
    """
    rows, names = np.asarray(embeddings, np.float32), np.asarray(labels)
    there = ~np.isnan(rows).any(axis=1)
    people = np.unique(names[there], return_inverse=True)[1]
    counts = count_scores(rows[there], people, deal(people))
    cllrs, least = held_out_cost(counts)
    best = min(KINDS, key=lambda kind: cllrs[kind])
    return FittedMap(fit_curve(best, LEVELS, *counts.all()), cllrs, least, counts.folds)


def deal(people: NDArray[np.integer]) -> NDArray[np.intp]:
    """The fold [P] of each person, in at most `FOLDS` folds; ``people`` [N] is a person's number
    for each photo.

    People are assigned to folds in turn, those with the most photos first, so that the folds are similar and
    each has at least two people with two photos. Raises `UsageError` if that does not give two folds.
    """
    photos = np.bincount(people)
    several = int((photos >= 2).sum())
    if several < 4:
        raise UsageError(
            f"only {several} of the people have two usable photos",
            "A score map is tested on people it was not fitted on: add at least four such people.",
        )
    folds = np.empty(len(photos), np.intp)
    folds[np.argsort(-photos, kind="stable")] = np.arange(len(photos)) % min(FOLDS, several // 2)
    return folds


def count_scores(
    rows: NDArray[np.float32], people: NDArray[np.integer], folds: NDArray[np.intp]
) -> ScoreCounts:
    """Count the cosines of all comparisons among unit ``rows`` [N, D] of people ``people`` [N] in
    ``folds`` [P]; a cosine counts for the nearest of `LEVELS`."""
    count = int(folds.max()) + 1
    mated = np.zeros((count, LEVELS.size), np.int64)
    non_mated = np.zeros((count, count, LEVELS.size), np.int64)
    members = [np.flatnonzero(folds[people] == fold) for fold in range(count)]
    for one, mine in enumerate(members):
        for other, theirs in enumerate(members[one:], one):
            for block in blocks(rows[mine], rows[theirs]):
                levels = np.rint((block.scores + 1) * _BINS).astype(np.int32)
                same = people[mine[block.rows], None] == people[theirs[block.columns]]
                # within a fold each pair occurs twice, once above the diagonal
                once = block.above if one == other else np.ones_like(same)
                non_mated[one, other] += np.bincount(levels[once & ~same], minlength=LEVELS.size)
                mated[one] += np.bincount(levels[once & same], minlength=LEVELS.size)
    return ScoreCounts(mated, non_mated)


def held_out_cost(counts: ScoreCounts) -> tuple[dict[Kind, float], float]:
    """Cllr of each kind of curve over the comparisons within folds, and its minimum, in bits."""
    tests = [counts.within(fold) for fold in range(counts.folds)]
    mated, non_mated = np.stack([m for m, _ in tests]), np.stack([n for _, n in tests])
    cllrs = {}
    for kind in KINDS:
        curves = [fit_curve(kind, LEVELS, *counts.without(fold)) for fold in range(counts.folds)]
        llrs = np.stack([log_likelihood_ratio(curve, LEVELS) for curve in curves])
        cllrs[kind] = weighted_cllr(llrs, mated, llrs, non_mated)
    return cllrs, least_cllr(mated.sum(0), non_mated.sum(0))


def fit_curve(
    kind: Kind, scores: ArrayLike, mated: ArrayLike, non_mated: ArrayLike
) -> LogisticCurve | IsotonicCurve:
    """Fit a curve to counts of ``mated`` [L] and ``non_mated`` [L] comparisons at ascending ``scores`` [L].

    Both kinds of comparison have the same total weight, so that the log-odds of the fitted probability
    are a log-likelihood ratio. Logistic: Platt's sigmoid with his corrected targets ("Probabilistic
    outputs for support vector machines", 1999, section 2.2), which keep the slope finite if no
    two scores overlap. Isotonic: pooled adjacent violators after Laplace's rule, with one comparison of
    either kind added at the lowest and at the highest score, so that no probability is 0 or 1.

    Raises `UsageError` if a kind of comparison is missing or mated scores are not higher.
    """
    # scikit-learn is imported here and nowhere else among the operator's packages
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    x, yes, no = _used(scores, mated, non_mated)
    _must_rise(x.size > 1)
    if kind == "logistic":
        hit, miss = _platt(yes, no)
        model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10)
        truth = np.repeat([1, 0], x.size)
        model.fit(np.tile(x, 2)[:, None], truth, np.concatenate([hit, miss]))
        slope = float(model.coef_[0, 0])
        _must_rise(slope > 0)
        return LogisticCurve(slope=slope, offset=float(model.intercept_[0]))
    share, weight = _laplace(yes, no)
    pooled = IsotonicRegression().fit(x, share, weight)
    knots, values = pooled.X_thresholds_, pooled.y_thresholds_
    _must_rise(values[-1] > values[0])
    return IsotonicCurve(scores=tuple(knots.tolist()), probabilities=tuple(values.tolist()))


def _used(scores: ArrayLike, mated: ArrayLike, non_mated: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The scores that occur, with their counts."""
    x, yes, no = (np.asarray(values, np.float64) for values in (scores, mated, non_mated))
    for counts, name in ((yes, "mated"), (no, "non-mated")):
        if not counts.sum():
            raise UsageError(f"there are no {name} comparisons to fit a score map on")
    used = yes + no > 0
    return x[used], yes[used], no[used]


def _platt(yes: Floats, no: Floats) -> tuple[Floats, Floats]:
    """The weight of each score as mated and as non-mated: Platt's targets, both kinds with equal weight."""
    high, low = (yes.sum() + 1) / (yes.sum() + 2), 1 / (no.sum() + 2)
    m, n = yes / yes.sum(), no / no.sum()
    return m * high + n * low, m * (1 - high) + n * (1 - low)


def _laplace(yes: Floats, no: Floats) -> tuple[Floats, Floats]:
    """The share of mated comparisons at each score and its weight, both kinds with equal weight."""
    m, n = yes.copy(), no.copy()
    for counts in (m, n):
        counts[0] += 1
        counts[-1] += 1
    m, n = m / m.sum(), n / n.sum()
    return m / (m + n), m + n


def _must_rise(rises: bool) -> None:
    if not rises:
        raise UsageError(
            "mated comparisons do not score above non-mated ones: there is no score map",
            "The model does not tell these people apart, or the folders are not one for each person.",
        )
