"""The separation of mated from non-mated scores, and whether it is smaller under another reading of the same
model on the same photos.

An error rate over a few hundred comparisons depends on the few that fail; the separation uses every score, so
the same photos reveal much smaller differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from facekd.errors import UsageError
from facekd.verification.influence_functions import Influence, PairSums
from facekd.verification.score_matrix import checked, unit

#: statistical power: the probability that a real difference is detected
POWER = 0.8


@dataclass(frozen=True)
class Separation:
    """``value``: the mean mated score minus the mean non-mated one, in standard deviations of the non-mated
    scores. ``influence``: that of each person on it."""

    value: float
    influence: Influence


@dataclass(frozen=True)
class Shortfall:
    """``value``: how much lower one `Separation` is than another on the same photos; with the standard
    ``error`` of the difference, its degrees of ``freedom``, and the number of ``people``."""

    value: float
    error: float
    freedom: float
    people: int

    def p_value(self, tests: int) -> float:
        """The one-sided p-value of Student's t test of no shortfall, multiplied by ``tests``, the number of
        other readings that might have seemed the best (Bonferroni), and at most 1. It is 1 if the standard
        error is 0."""
        from scipy.special import stdtr

        if self.error == 0:
            return 1.0
        return min(1.0, tests * float(stdtr(self.freedom, -self.value / self.error)))

    def people_needed(self, tests: int, level: float) -> int | None:
        """The number of people like these with which this shortfall would be significant at ``level`` with a
        probability of `POWER`, if it is as large as measured; `None` if there is none."""
        from scipy.special import ndtri

        if self.error == 0 or self.value <= 0:
            return None
        errors = float(ndtri(1 - level / tests) + ndtri(POWER))
        return int(np.ceil(self.people * (errors * self.error / self.value) ** 2))


def separation_of(embeddings: ArrayLike, labels: ArrayLike) -> Separation:
    """The separation over all comparisons among ``embeddings`` [N, D] of the people ``labels`` [N]; 0 if all
    non-mated scores are equal.

    It is d' with the standard deviation of the non-mated scores alone: a mislabelled or very poor photo,
    which scores low under every reading, changes the mean of the mated scores little, but their variance
    much. It is meant for hundreds of photos, and needs about 50 bytes per comparison. Raises `UsageError` for
    other shapes, and unless there are mated and non-mated comparisons.
    """
    rows, given = checked(embeddings, labels)
    people, numbers = np.unique(given, return_inverse=True)
    one, other = np.triu_indices(numbers.size, 1)
    rows = unit(rows)
    scores, same = (rows @ rows.T)[one, other].astype(np.float64), numbers[one] == numbers[other]
    if same.all() or not same.any():
        raise UsageError("a separation needs at least two people, one of them with two photos")
    ends = numbers[np.stack([one, other], axis=1)]
    sums = PairSums(ends[same, 0], ends[~same], people.size)
    mean, spread = scores[~same].mean(), scores[~same].std()
    # below the resolution of scores in single precision
    if spread < 1e-6:
        still, apart = sums.non_mated(np.zeros(int((~same).sum())))
        return Separation(0.0, Influence(still, still, apart))
    mated, non_mated = ((scores[kind] - mean) / spread for kind in (same, ~same))
    value = float(mated.mean())
    # the influence of a non-mated score: linear through the mean, quadratic through the spread
    by_person, dyads = sums.non_mated(-non_mated - value / 2 * non_mated**2)
    return Separation(value, Influence(sums.mated(mated), by_person, dyads))


def shortfall(best: Separation, other: Separation) -> Shortfall:
    """How much lower ``other`` is than ``best``; both must have the same labels.

    The standard error is that of the difference itself, from the difference of the two influences of each
    person (the infinitesimal jackknife; Efron, "The jackknife, the bootstrap and other resampling plans",
    1982, chapter 6), so that the difficulty of a person under both cancels. Comparisons of the same two
    people are in the squares of both people, and are counted once (Aronow, Samii and Assenova,
    "Cluster-robust variance estimation for dyadic data", Political Analysis 2015); the variance is at least
    the one that only these comparisons' dependence gives. Degrees of freedom are `Influence.freedom`. The
    test assumes that people are drawn independently, and that the difference is approximately normal.
    """
    ours, theirs = best.influence, other.influence
    mated, non_mated = ours.mated - theirs.mated, ours.non_mated - theirs.non_mated
    dyads, people = ours.dyads - theirs.dyads, mated.size
    squares, doubly = float(((mated + non_mated) ** 2).sum()), float(dyads @ dyads)
    once = max(squares - doubly, float(mated @ mated) + doubly)
    error = float(np.sqrt(once * people / (people - 1)))
    return Shortfall(best.value - other.value, error, (ours - theirs).freedom, people)
