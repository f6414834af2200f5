"""An operating point: a TAR at an FMR, or why there are too few data for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification import metrics
from facekd.verification.intervals import Interval, rule_of_three

#: the fewest expected false matches for an operating point: the rule of 30 (Doddington
#: et al., "The NIST speaker recognition evaluation", Speech Communication 2000).
FEWEST_FALSE_MATCHES = 30
#: the highest FMR of the partial AUC
PARTIAL_FMR = 0.01

Floats = NDArray[np.float64]


def enough(non_mated: int, fmr: float) -> bool:
    """Whether ``non_mated`` comparisons can show a false match rate of ``fmr``."""
    return non_mated * fmr * (1 + 1e-12) >= FEWEST_FALSE_MATCHES


@dataclass(frozen=True)
class Lost:
    """How many ``mated`` and ``non_mated`` comparisons have no score because one or both of their photos
    have no embedding."""

    mated: int
    non_mated: int

    @classmethod
    def of(cls, scores: Floats, mated: NDArray[np.bool_]) -> Lost:
        """From comparisons with ``scores`` [P], NaN for none."""
        failed = ~np.isfinite(scores)
        return cls(int((failed & mated).sum()), int((failed & ~mated).sum()))


@dataclass(frozen=True)
class WholeAttempts:
    """The transaction error rates at the threshold of the operating point of ``fmr``.

    A transaction is one attempted comparison. It fails, and is then refused, if either of its photos
    has no embedding: the failure-to-acquire rate of comparisons is the share lost in this way, of the
    mated ones for ``frr`` and of the non-mated ones for ``far`` (ISO/IEC 19795-1, `metrics.with_failures`).
    """

    fmr: float
    far: float
    frr: float
    fta_mated: float
    fta_non_mated: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def whole_attempts(points: Sequence[OperatingPoint], lost: Lost) -> list[WholeAttempts]:
    """FAR and FRR at each of ``points`` that has a number, if ``lost`` comparisons are refused."""
    found = []
    for point in points:
        if point.fnmr is not None and point.false_matches is not None:
            fmr = point.false_matches / point.non_mated
            fta_mated = lost.mated / (lost.mated + point.mated)
            fta_non_mated = lost.non_mated / (lost.non_mated + point.non_mated)
            far = metrics.with_failures(fmr, point.fnmr, fta_non_mated).far
            frr = metrics.with_failures(fmr, point.fnmr, fta_mated).frr
            found.append(WholeAttempts(point.fmr, far, frr, fta_mated, fta_non_mated))
    return found


@dataclass(frozen=True)
class OperatingPoint:
    """TAR at a stated FMR. ``tar``, ``threshold`` and ``interval`` are `None` if fewer than 30
    false matches are expected among the ``non_mated`` comparisons."""

    fmr: float
    mated: int
    non_mated: int
    tar: float | None = None
    threshold: float | None = None
    interval: Interval | None = None
    false_matches: int | None = None
    #: the number of distinct pairs of identities in the non-mated comparisons, if known
    identity_pairs: int | None = None

    @property
    def fnmr(self) -> float | None:
        return None if self.tar is None else 1 - self.tar

    @property
    def fnmr_interval(self) -> Interval | None:
        """The interval of the TAR, mirrored."""
        return self.interval and Interval(1 - self.interval.high, 1 - self.interval.low, self.interval.method)

    @property
    def shortfall(self) -> str | None:
        """Why there is no number, with the bound that the counts allow; `None` if there is a number."""
        if self.tar is not None:
            return None
        if self.non_mated == 0:
            return "insufficient data: no non-mated comparisons"
        # comparisons of the same two identities are not independent trials
        of_pairs = "" if self.identity_pairs is None else f" of {self.identity_pairs:,} pairs of identities"
        bound = rule_of_three(self.non_mated if self.identity_pairs is None else self.identity_pairs)
        return (
            f"insufficient data: {self.non_mated * self.fmr:.3g} false matches expected, "
            f"{FEWEST_FALSE_MATCHES} needed; {self.non_mated:,} non-mated comparisons{of_pairs} without a "
            f"match would bound the FMR by {bound:.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "fmr": self.fmr,
            "tar": self.tar,
            "threshold": self.threshold,
            "interval": self.interval.to_dict() if self.interval else None,
            "fnmr": self.fnmr,
            "fnmr_interval": self.fnmr_interval.to_dict() if self.fnmr_interval else None,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "false_matches": self.false_matches,
            "identity_pairs": self.identity_pairs,
            "insufficient": self.shortfall,
        }
