"""Pairs of a gallery that are too similar to be two people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.verification.det import normal_deviate
from facekd.verification.kept_scores import Floats, Ids

#: expected number of pairs of different people that are wrongly suspected in a whole gallery
_WRONGLY_SUSPECTED = 0.01
#: the share of all pairs that the tail is fitted to, and the fewest pairs
_FITTED, _FEWEST_FITTED = 0.01, 40
#: one in this many of the fitted pairs may be a duplicate without moving the fit
_CENSORED = 8


@dataclass(frozen=True)
class Pairs:
    """The highest ``scores`` [K], descending, of the pairs of ``of`` people, with their numbers
    ``people`` [K, 2], the lower of the two first."""

    of: int
    scores: Floats
    people: Ids

    def __getitem__(self, chosen: slice) -> Pairs:
        return Pairs(self.of, self.scores[chosen], self.people[chosen])


def likely_doubles(pairs: Pairs) -> Pairs:
    """The ``pairs`` with scores higher than different people reach.

    Scores of different people are nearly normal in their upper tail, as sums of many products are: plotted
    against the normal deviates of their ranks they lie on a line, as in a DET plot (Martin et
    al., "The DET curve in assessment of detection task performance", Eurospeech 1997). The line is fitted to
    the highest hundredth of all pairs, at least 40, without their highest eighth, where duplicates would be.
    A pair is suspected above the score that, by this line, 0.01 pairs of different people in the whole
    gallery would reach. Suspected pairs are removed and the others fitted again, until there are no more.
    With too few pairs for a fit, none is suspected.
    Too few pairs for a fit: none is suspected.
    """
    found = 0
    while True:
        cut = highest_by_chance(pairs.scores[found:], pairs.of * (pairs.of - 1) // 2 - found)
        more = int((pairs.scores[found:] > cut).sum())
        if not more:
            return pairs[slice(0, found)]
        found += more


def highest_by_chance(scores: Floats, total: int) -> float:
    """The score that `_WRONGLY_SUSPECTED` of ``total`` pairs are expected to reach, estimated from the
    highest of their ``scores`` [K], descending; infinite if these are too few."""
    fitted = min(max(_FEWEST_FITTED, int(_FITTED * total)), scores.size)
    if fitted < _FEWEST_FITTED or 2 * fitted > total:
        return np.inf
    ranks = np.arange(fitted // _CENSORED, fitted)
    slope, level = np.polyfit(_deviates((ranks + 0.5) / total), scores[ranks], 1)
    # if all tie, rounding may put the line just below them
    return max(float(level + slope * _deviates(_WRONGLY_SUSPECTED / total)), float(scores[ranks[0]]))


def one_of_each(people: int, doubles: Ids) -> NDArray[np.bool_]:
    """A mask [``people``] of those who count if each of ``doubles`` [K, 2] is one person: the first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(doubles)), (doubles[:, 0], doubles[:, 1])), shape=(people, people))
    groups = connected_components(links, directed=False)[1]
    counts = np.zeros(people, np.bool_)
    counts[np.unique(groups, return_index=True)[1]] = True
    return counts


def _deviates(rates: ArrayLike) -> Floats:
    """The normal deviates that these shares of a normal distribution exceed."""
    return -normal_deviate(rates)
