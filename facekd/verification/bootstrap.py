"""The bootstrap over identities: intervals for comparisons that share identities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification.influence_functions import Influence
from facekd.verification.intervals import Interval

#: replicates of a bootstrap; the 2.5 % point then rests on 25 of them
REPLICATES = 1000
#: how many people to draw with one call, of one or more replicates
_DRAWN_TOGETHER = 1 << 14


@runtime_checkable
class BlockStatistics(Protocol):
    """Statistics that compute `block` drawings at a time."""

    @property
    def block(self) -> int: ...

    def of_each(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rates [B, S] of the drawings ``weights`` [B, people]; NaN where a class is empty."""


def identity_weights(
    people: int, replicates: int = REPLICATES, seed: int = 0
) -> Iterator[NDArray[np.float64]]:
    """How often each of ``people`` is drawn in every replicate, [people]."""
    random = np.random.default_rng(seed)
    together = max(1, _DRAWN_TOGETHER // people)
    for done in range(0, replicates, together):
        count = min(together, replicates - done)
        drawn = random.integers(people, size=(count, people)) + people * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * people).astype(np.float64)
        yield from times.reshape(count, people)


def identity_bootstrap(
    statistics: Callable[[NDArray[np.float64]], Sequence[float]],
    people: int,
    replicates: int = REPLICATES,
    seed: int = 0,
    influences: Sequence[Influence] | None = None,
) -> list[Interval]:
    """95 % intervals of the rates ``statistics(weights [people])``, with identities resampled.

    In ``statistics`` a mated comparison of identity i must be weighted by w_i, a non-mated one of i and
    j by w_i * w_j: an identity drawn twice then never makes a non-mated pair with itself. A replicate
    that leaves a class empty gives NaN and is dropped.

    The bootstrap gives the standard error of the log odds, and Student's t its multiple: percentiles of the
    replicates are too narrow for few identities and off to one side for rates near 0 or 1
    (`tools/measure_coverage.py` compares them). The multiple comes from the ``influences`` of the identities
    on each rate (`multiple_of`); without them it is `students_multiple`, as if all identities had equal
    weight. A rate that is 0 or 1 in every replicate gets an interval of zero width: use `extreme_interval`.

    Raises `UsageError` with fewer than two identities, or if most replicates are empty.
    """
    values = replicated(statistics, people, replicates, seed)
    rates = np.asarray(statistics(np.ones(people)), np.float64)
    return log_odds_intervals(rates, values, _multiples(people, influences))


def log_odds_intervals(
    rates: NDArray[np.float64], values: NDArray[np.float64], multiples: NDArray[np.float64] | float
) -> list[Interval]:
    """Intervals of `identity_bootstrap` for ``rates`` [S] with replicates ``values`` [B, S]. Half of each
    interval is ``multiples`` ([S], or one for all) times the spread of the replicates."""
    from scipy.special import expit, logit

    room = np.minimum(values, 1 - values)
    # half of the smallest rate in the replicates replaces a rate of zero
    least = np.where((room > 0).any(axis=0), np.where(room > 0, room, 1).min(axis=0) / 2, 1e-12)
    centres = logit(np.clip(rates, least, 1 - least))
    half = multiples * logit(np.clip(values, least, 1 - least)).std(axis=0, ddof=1)
    return [
        Interval(min(float(low), float(rate)), max(float(high), float(rate)), "bootstrap over identities")
        for low, rate, high in zip(expit(centres - half), rates, expit(centres + half), strict=True)
    ]


def difference_bootstrap(
    differences: Callable[[NDArray[np.float64]], Sequence[float]],
    people: int,
    replicates: int = REPLICATES,
    seed: int = 0,
    influences: Sequence[Influence] | None = None,
) -> list[Interval]:
    """As `identity_bootstrap`, for differences of two rates: Student's t on their own scale.

    A difference that is equal in all replicates gets an interval of zero width: bound it by other means.
    """
    values = replicated(differences, people, replicates, seed)
    centres = np.asarray(differences(np.ones(people)), np.float64)
    half = _multiples(people, influences) * values.std(axis=0, ddof=1)
    return [
        Interval(max(-1.0, float(low)), min(1.0, float(high)), "bootstrap over identities")
        for low, high in zip(centres - half, centres + half, strict=True)
    ]


def replicated(
    statistics: Callable[[NDArray[np.float64]], Sequence[float]],
    people: int,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The replicates [B, S] of ``statistics`` without NaN; raises as `identity_bootstrap`."""
    if people < 2:
        raise UsageError("a bootstrap over identities needs at least two of them")
    drawn = identity_weights(people, replicates, seed)
    if isinstance(statistics, BlockStatistics):
        blocks = iter(lambda: list(islice(drawn, statistics.block)), [])
        values = np.concatenate([statistics.of_each(np.array(block)) for block in blocks])
    else:
        values = np.array([statistics(w) for w in drawn])
    values = values[~np.isnan(values).any(axis=1)]
    if len(values) < replicates / 2:
        raise UsageError("too few comparisons for a bootstrap over identities")
    return values


def effective_number(sizes: NDArray[np.integer]) -> float:
    """The number of identities with equally many comparisons that carry as much information as
    identities with ``sizes``: (sum of sizes)^2 / sum of sizes^2 (Kish, "Survey Sampling", 1965)."""
    exact = np.asarray(sizes, np.float64)
    return float(exact.sum() ** 2 / (exact**2).sum())


def students_multiple(persons: float) -> float:
    """The number of standard errors in half a 95 % interval that rests on this many ``persons``:
    Student's multiple, times sqrt(n / (n - 1)), since drawing n of n understates the spread by that
    factor (Hesterberg, "What teachers should know about the bootstrap", The American Statistician 2015)."""
    from scipy.special import stdtrit

    count = max(2.0, persons)
    return float(stdtrit(count - 1, 0.975) * np.sqrt(count / (count - 1)))


def multiple_of(influence: Influence) -> float:
    """As `students_multiple`, with the degrees of freedom and the shrinkage of ``influence``."""
    from scipy.special import stdtrit

    people = influence.mated.size
    multiple = stdtrit(influence.freedom, 0.975) * np.sqrt(people / (people - 1))
    return float(multiple * influence.shrinkage)


def _multiples(people: int, influences: Sequence[Influence] | None) -> NDArray[np.float64] | float:
    if influences is None:
        return students_multiple(people)
    return np.array([multiple_of(influence) for influence in influences])


def weighted_tar(
    mated: NDArray[np.float64],
    mated_weights: NDArray[np.float64],
    tail: NDArray[np.float64],
    tail_weights: NDArray[np.float64],
    total: float,
    fmr: float,
) -> float:
    """TAR at ``fmr`` of weighted comparisons.

    ``tail`` are the highest non-mated scores, descending; ``total`` is the weight of all non-mated
    comparisons. NaN if a class has no weight. If the tail ends before ``fmr`` is reached,
    its last score is used, which understates the TAR.
    """
    weight = mated_weights.sum()
    if weight == 0 or total == 0:
        return float("nan")
    refused = np.searchsorted(np.cumsum(tail_weights), total * fmr * (1 + 1e-12), side="right")
    accepted = mated > tail[min(int(refused), tail.size - 1)]
    return float(mated_weights[accepted].sum() / weight)
