"""How far a model keeps mated scores from non-mated ones, and whether another way to feed it on the same
photos keeps them less far apart.

An error rate of a few hundred comparisons counts the few that fail; the separation uses the score of each, so
that the same photos can show much smaller differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from facekd.errors import UsageError
from facekd.verification.influence_functions import Influence, PairSums
from facekd.verification.score_matrix import checked, unit

#: the chance with which a difference that is to be found is found
POWER = 0.8


@dataclass(frozen=True)
class Separation:
    """By how many standard deviations of the non-mated scores the mean mated score is above the mean
    non-mated one: ``value``, with the ``influence`` of the people on it."""

    value: float
    influence: Influence


@dataclass(frozen=True)
class Shortfall:
    """By how much one `Separation` is below another on the same photos: ``value``, with the standard
    ``error`` of the difference and its degrees of ``freedom``, resting on ``people`` people."""

    value: float
    error: float
    freedom: float
    people: int

    def p_value(self, tests: int) -> float:
        """The one-sided p-value against there being no shortfall, where any of ``tests`` others might have
        seemed the best: Student's, times ``tests`` (Bonferroni), at most 1. 1 without a spread."""
        from scipy.special import stdtr

        if self.error == 0:
            return 1.0
        return min(1.0, tests * float(stdtr(self.freedom, -self.value / self.error)))

    def people_needed(self, tests: int, level: float) -> int | None:
        """How many people like these would show this shortfall at ``level`` with a chance of `POWER`, if it
        is as large as it seems; `None` if there is none."""
        from scipy.special import ndtri

        if self.error == 0 or self.value <= 0:
            return None
        errors = float(ndtri(1 - level / tests) + ndtri(POWER))
        return int(np.ceil(self.people * (errors * self.error / self.value) ** 2))


def separation_of(embeddings: ArrayLike, labels: ArrayLike) -> Separation:
    """The separation in all comparisons among ``embeddings`` [N, D] of people ``labels`` [N]; 0 if all
    non-mated scores are equal.

    It is d' with the spread of the non-mated scores alone: a mislabelled photo or a very poor one, which
    scores low under every reading, moves the mean of the mated scores a little and their variance a lot.

    Meant for hundreds of photos: needs about 50 bytes for each comparison. Raises `UsageError` for other
    shapes, and without a mated and a non-mated comparison.
    """
    rows, given = checked(embeddings, labels)
    people, numbers = np.unique(given, return_inverse=True)
    one, other = np.triu_indices(numbers.size, 1)
    rows = unit(rows)
    scores, same = (rows @ rows.T)[one, other].astype(np.float64), numbers[one] == numbers[other]
    if same.all() or not same.any():
        raise UsageError("a separation needs two people, one of them with two photos")
    ends = numbers[np.stack([one, other], axis=1)]
    sums = PairSums(ends[same, 0], ends[~same], people.size)
    mean, spread = scores[~same].mean(), scores[~same].std()
    # scores in single precision
    if spread < 1e-6:
        still, apart = sums.non_mated(np.zeros(int((~same).sum())))
        return Separation(0.0, Influence(still, still, apart))
    mated, non_mated = ((scores[kind] - mean) / spread for kind in (same, ~same))
    value = float(mated.mean())
    # a non-mated score moves the mean by itself and the spread by half its square
    by_person, dyads = sums.non_mated(-non_mated - value / 2 * non_mated**2)
    return Separation(value, Influence(sums.mated(mated), by_person, dyads))


def shortfall(best: Separation, other: Separation) -> Shortfall:
    """By how much ``other`` is below ``best``, both of the same labels.

    The standard error is that of the difference itself, from the difference of the two influences of each
    person (the infinitesimal jackknife; Efron, "The jackknife, the bootstrap and other resampling plans",
    1982, chapter 6), so that what makes a person hard under both cancels. Comparisons of the same two people
    are in the squares of both and are counted once (Aronow, Samii and Assenova, "Cluster-robust variance
    estimation for dyadic data", Political Analysis 2015); the variance is at least that with no dependence
    but among these. Degrees of freedom are `Influence.freedom`. It assumes that people are drawn
    independently, and that a difference is near enough to normal for Student's t.
    """
    ours, theirs = best.influence, other.influence
    mated, non_mated = ours.mated - theirs.mated, ours.non_mated - theirs.non_mated
    dyads, people = ours.dyads - theirs.dyads, mated.size
    squares, doubly = float(((mated + non_mated) ** 2).sum()), float(dyads @ dyads)
    once = max(squares - doubly, float(mated @ mated) + doubly)
    error = float(np.sqrt(once * people / (people - 1)))
    return Shortfall(best.value - other.value, error, (ours - theirs).freedom, people)
