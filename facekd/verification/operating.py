"""One operating point: a TAR at an FMR, or why the data cannot give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.verification.intervals import Interval, rule_of_three

#: Expected false matches below which an operating point is not stated: the rule of 30 (Doddington
#: et al., "The NIST speaker recognition evaluation", Speech Communication 2000).
FEWEST_FALSE_MATCHES = 30


def enough(non_mated: int, fmr: float) -> bool:
    """Whether ``non_mated`` comparisons can show a false match rate of ``fmr``."""
    return non_mated * fmr * (1 + 1e-12) >= FEWEST_FALSE_MATCHES


@dataclass(frozen=True)
class OperatingPoint:
    """TAR at a stated FMR. ``tar``, ``threshold`` and ``interval`` are `None` where fewer than 30
    false matches are expected among the ``non_mated`` comparisons."""

    fmr: float
    mated: int
    non_mated: int
    tar: float | None = None
    threshold: float | None = None
    interval: Interval | None = None
    false_matches: int | None = None

    @property
    def shortfall(self) -> str | None:
        """Why there is no number, with the bound that the counts allow; `None` if there is one."""
        if self.tar is not None:
            return None
        if self.non_mated == 0:
            return "insufficient data: no non-mated comparisons"
        return (
            f"insufficient data: {self.non_mated * self.fmr:.3g} false matches expected, "
            f"{FEWEST_FALSE_MATCHES} needed; {self.non_mated:,} non-mated comparisons without a "
            f"match would bound the FMR by {rule_of_three(self.non_mated):.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "fmr": self.fmr,
            "tar": self.tar,
            "threshold": self.threshold,
            "interval": self.interval.to_dict() if self.interval else None,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "false_matches": self.false_matches,
            "insufficient": self.shortfall,
        }
