"""How far a model keeps mated scores from non-mated ones, and whether another way to feed it on the same
photos keeps them less far apart.

An error rate of a few hundred comparisons counts the few that fail; d' uses the score of each, so that the
same photos can show much smaller differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.influence_functions import Influence, PairSums, d_prime_influence
from facekd.verification.score_matrix import checked, unit

#: the chance with which a difference that is to be found is found
POWER = 0.8


@dataclass(frozen=True)
class Separation:
    """``d_prime`` of all comparisons among photos, with the ``influence`` of the people on it."""

    d_prime: float
    influence: Influence


@dataclass(frozen=True)
class Shortfall:
    """By how much one `Separation` is below another on the same photos: ``value``, with the standard
    ``error`` of the difference and its degrees of ``freedom``, resting on ``people`` people."""

    value: float
    error: float
    freedom: float
    people: int

    def chance(self, tests: int) -> float:
        """The one-sided p-value against there being no shortfall, where any of ``tests`` others might have
        seemed the best: Student's, times ``tests`` (Bonferroni), at most 1. 1 without a spread."""
        from scipy.special import stdtr

        if not np.isfinite(self.value) or self.error == 0:
            return 1.0
        return min(1.0, tests * float(stdtr(self.freedom, -self.value / self.error)))

    def people_needed(self, tests: int, level: float) -> int | None:
        """How many people like these would show this shortfall at ``level`` with a chance of `POWER`, if it
        is as large as it seems; `None` if there is none."""
        from scipy.special import ndtri

        if not np.isfinite(self.value) or self.error == 0 or self.value <= 0:
            return None
        errors = float(ndtri(1 - level / tests) + ndtri(POWER))
        return int(np.ceil(self.people * (errors * self.error / self.value) ** 2))


def separation_of(embeddings: ArrayLike, labels: ArrayLike) -> Separation:
    """d' of all comparisons among ``embeddings`` [N, D] of people ``labels`` [N].

    Meant for hundreds of photos: needs about 50 bytes for each comparison. Raises `UsageError` as `all_pairs`
    does.
    """
    rows, given = checked(embeddings, labels)
    people, numbers = np.unique(given, return_inverse=True)
    one, other = np.triu_indices(numbers.size, 1)
    rows = unit(rows)
    scores, same = (rows @ rows.T)[one, other], numbers[one] == numbers[other]
    if same.all() or not same.any():
        raise UsageError("d' needs two people, one of them with two photos")
    levels = metrics.levels_of(scores[same], scores[~same])
    ends = np.stack([numbers[one], numbers[other]], axis=1)[~same]
    sums = PairSums(numbers[one[same]], ends, people.size)
    return Separation(metrics.d_prime(scores[same], scores[~same]), d_prime_influence(levels, sums))


def shortfall(best: Separation, other: Separation) -> Shortfall:
    """By how much ``other`` is below ``best``, both on the same photos.

    The standard error is that of the infinitesimal jackknife over people (Efron, "The jackknife, the
    bootstrap and other resampling plans", 1982, chapter 6), of the difference itself: for each person the
    difference of the two influences, so that what makes a person hard under both cancels. It assumes that the
    people are drawn independently from those to be recognised, and counts the random part of each
    non-mated comparison twice, once for either person, so that it is rather too large than too small.
    Degrees of freedom are `Influence.freedom`. Both must come from the same labels.
    """
    moved = best.influence - other.influence
    by_person = moved.mated + moved.non_mated
    people = by_person.size
    error = float(np.sqrt(by_person @ by_person * people / (people - 1)))
    return Shortfall(best.d_prime - other.d_prime, error, moved.freedom, people)
