"""Intervals for rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facekd.errors import UsageError


@dataclass(frozen=True)
class Interval:
    """A 95 % interval and the method by which it was found."""

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
    """The 95 % upper bound of a rate if there was no event in ``trials`` independent trials."""
    _check(0, trials)
    return min(1.0, 3 / trials)


def extreme_interval(rate: float, people: int) -> Interval | None:
    """A bound for a ``rate`` of 0 or 1, which resampling people would not change: three divided
    by the number of ``people``, the independent units. `None` for any other rate."""
    bound = rule_of_three(people)
    if rate == 0:
        return Interval(0.0, bound, "rule of three over identities")
    if rate == 1:
        return Interval(1 - bound, 1.0, "rule of three over identities")
    return None


def _check(hits: int, trials: int) -> None:
    if trials < 1 or not 0 <= hits <= trials:
        raise UsageError(f"{hits} of {trials} is not a rate")
