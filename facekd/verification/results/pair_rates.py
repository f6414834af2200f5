"""Rates of listed pairs, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facekd.verification import costs
from facekd.verification.intervals import Interval
from facekd.verification.operating_points import PARTIAL_FMR, OperatingPoint


@dataclass(frozen=True)
class Measure:
    """A number with its 95 % interval, if there is one."""

    value: float
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: it is written as `None`."""
        value = self.value if np.isfinite(self.value) else None
        return {"value": value, "interval": self.interval.to_dict() if self.interval else None}


@dataclass(frozen=True)
class PairRates:
    """``partial_auc`` is up to FMR `PARTIAL_FMR`, `None` if fewer than 30 false matches are
    expected there; ``min_dcf`` is `costs.min_dcf` with its defaults; ``d_prime`` may be infinite."""

    auc: Measure
    eer: Measure
    partial_auc: Measure | None
    min_dcf: Measure
    d_prime: Measure
    points: tuple[OperatingPoint, ...]
    caveats: tuple[str, ...]
    non_mated: int
    identity_pairs: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """All except the operating points and the caveats."""
        none = {"value": None, "interval": None}
        point = OperatingPoint(PARTIAL_FMR, 0, self.non_mated, identity_pairs=self.identity_pairs)
        short = None if self.partial_auc else point.shortfall
        return {
            "auc": self.auc.to_dict(),
            "eer": self.eer.to_dict(),
            "partial_auc": {
                "highest_fmr": PARTIAL_FMR,
                **(self.partial_auc.to_dict() if self.partial_auc else none),
                "insufficient": short,
            },
            "min_dcf": {"p_target": costs.P_TARGET, "c_miss": 1, "c_fa": 1, **self.min_dcf.to_dict()},
            "d_prime": self.d_prime.to_dict(),
        }
