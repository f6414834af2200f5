"""The result of listed comparisons without folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification.operating_points import Lost, OperatingPoint, whole_attempts
from facekd.verification.results.base import failures_dict
from facekd.verification.results.pair_rates import PairRates

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreResult:
    """Listed comparisons without folds: ``scores`` [P], NaN if one failed, and ``mated`` [P].

    ``photos`` is `None` if only scores are known; otherwise ``failed`` names the photos without an
    embedding. ``pair_people`` [P, 2] are the two people of each comparison, `None` if they are not
    known.
    """

    protocol: str
    source: str
    photos: int | None
    failed: tuple[str, ...]
    scores: Floats
    mated: NDArray[np.bool_]
    rates: PairRates
    pair_people: NDArray[np.int64] | None = None

    @property
    def completed(self) -> NDArray[np.bool_]:
        return np.isfinite(self.scores)

    @property
    def lost(self) -> Lost:
        return Lost.of(self.scores, self.mated)

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """The operating points, from the highest FMR to the lowest."""
        return tuple(sorted(self.rates.points, key=lambda point: -point.fmr))

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "comparisons": {
                "mated": int(self.mated.sum()),
                "non_mated": int((~self.mated).sum()),
                "failed_mated": self.lost.mated,
                "failed_non_mated": self.lost.non_mated,
            },
            "failures_to_acquire": failures_dict(len(self.failed), self.photos) if self.photos else None,
            **self.rates.to_dict(),
            "operating_points": [point.to_dict() for point in self.points],
            "whole_attempts": [found.to_dict() for found in whole_attempts(self.points, self.lost)],
            "caveats": list(self.rates.caveats),
        }
