"""Intervals for rates, and the bootstrap over identities.

Comparisons that share a person are not independent, so an interval that counts pairs is too
narrow for them; the bootstrap draws persons instead (Bolle, Ratha and Pankanti, "Error analysis
of pattern recognition systems: the subsets bootstrap", CVIU 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError

#: replicates of a bootstrap; the 2.5 % point then rests on 25 of them
REPLICATES = 1000


@dataclass(frozen=True)
class Interval:
    """A 95 % interval and how it was found."""

    low: float
    high: float
    method: str

    def to_dict(self) -> dict[str, float | str]:
        return {"low": self.low, "high": self.high, "method": self.method}


def wilson(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """The score interval for a rate of independent trials (Wilson, JASA 1927)."""
    _check(hits, trials)
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    rate = hits / trials
    centre = rate + z * z / (2 * trials)
    half = z * np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if hits == 0 else (centre - half) / scale
    high = 1.0 if hits == trials else (centre + half) / scale
    return Interval(float(low), float(high), "Wilson")


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """The exact interval for a rate of independent trials (Clopper and Pearson, Biometrika 1934)."""
    _check(hits, trials)
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return Interval(low, high, "Clopper-Pearson")


def rule_of_three(trials: int) -> float:
    """What no event in ``trials`` independent trials says of the rate: at most this, with 95 %."""
    _check(0, trials)
    return min(1.0, 3 / trials)


def _check(hits: int, trials: int) -> None:
    if trials < 1 or not 0 <= hits <= trials:
        raise UsageError(f"{hits} of {trials} is not a rate")


def identity_weights(
    people: int, replicates: int = REPLICATES, seed: int = 0
) -> Iterator[NDArray[np.float64]]:
    """How often each of ``people`` is drawn, [people], for every replicate."""
    random = np.random.default_rng(seed)
    for _ in range(replicates):
        yield np.bincount(random.integers(people, size=people), minlength=people).astype(np.float64)


def identity_bootstrap(
    statistics: Callable[[NDArray[np.float64]], Sequence[float]],
    people: int,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Interval]:
    """95 % percentile intervals of ``statistics(weights [people])`` with persons drawn anew.

    A mated comparison of person i must be weighed w_i in ``statistics``, a non-mated one of i and
    j w_i * w_j: then a person drawn twice never makes a non-mated pair with itself. A replicate
    that leaves a class empty gives NaN and is left out. With few persons, or persons with very
    unequal numbers of photos, percentile intervals come out too narrow.

    Raises `UsageError` with fewer than two persons, or where most replicates are empty.
    """
    if people < 2:
        raise UsageError("a bootstrap over identities needs at least two of them")
    values = np.array([statistics(w) for w in identity_weights(people, replicates, seed)])
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < replicates / 2:
        raise UsageError("too few comparisons for a bootstrap over identities")
    bounds = np.percentile(values, [2.5, 97.5], axis=0).T
    return [Interval(float(low), float(high), "bootstrap over identities") for low, high in bounds]


def weighted_tar(
    mated: NDArray[np.float64],
    mated_weights: NDArray[np.float64],
    tail: NDArray[np.float64],
    tail_weights: NDArray[np.float64],
    total: float,
    fmr: float,
) -> float:
    """TAR at ``fmr`` of weighted comparisons.

    ``tail`` are the highest non-mated scores, falling; ``total`` is the weight of all non-mated
    comparisons. NaN where a class has no weight. Where the tail ends before ``fmr`` is reached
    its last score serves, which understates the TAR.
    """
    weight = mated_weights.sum()
    if weight == 0 or total == 0:
        return float("nan")
    refused = np.searchsorted(np.cumsum(tail_weights), total * fmr * (1 + 1e-12), side="right")
    accepted = mated > tail[min(int(refused), tail.size - 1)]
    return float(mated_weights[accepted].sum() / weight)
