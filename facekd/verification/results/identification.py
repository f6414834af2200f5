"""The result of an identification (1:N).

Words and rates are those of ISO/IEC 19795-1 and of NIST's 1:N evaluations (Grother et al., "Face
recognition vendor test part 2: identification", NISTIR 8271, 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification.intervals import Interval, rule_of_three, wilson
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES
from facekd.verification.results.base import failures_dict

#: the ranks of the CMC that are written: a gallery may have ten thousand
CMC_RANKS = 100
INDEPENDENT_PROBES = (
    "Wilson's intervals treat probes as independent; they are too narrow if a person has several."
)


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Searches:
    """The searches of a gallery with ``enrolled`` templates.

    For probes of enrolled people: ``rank`` [P] of their own template (0 if the probe
    or the template is missing), and ``own`` [P], its score (-inf likewise). A tie counts against the
    own template. For probes of nobody enrolled: ``highest`` [U], the highest score, -inf for a probe
    that was not acquired, and ``nearest`` [U], the position of that template (-1 likewise).
    """

    enrolled: int
    rank: NDArray[np.int64]
    own: Floats
    highest: Floats
    nearest: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class RankPoint:
    """The share of mated searches that find their person among the first ``rank``."""

    rank: int
    hits: int
    searches: int

    @property
    def rate(self) -> float:
        return self.hits / self.searches

    @property
    def interval(self) -> Interval:
        return wilson(self.hits, self.searches)

    def to_dict(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "rate": self.rate,
            "interval": self.interval.to_dict(),
            "hits": self.hits,
            "searches": self.searches,
        }


@dataclass(frozen=True)
class OpenPoint:
    """FNIR at a stated FPIR: the share of ``mated`` searches whose own template is not first
    with at least ``threshold``. ``misses`` and ``threshold`` are `None` if fewer than 30 false
    positives are expected among the ``non_mated`` searches."""

    fpir: float
    mated: int
    non_mated: int
    misses: int | None = None
    threshold: float | None = None
    false_positives: int | None = None

    @property
    def fnir(self) -> float | None:
        return None if self.misses is None else self.misses / self.mated

    @property
    def interval(self) -> Interval | None:
        return None if self.misses is None else wilson(self.misses, self.mated)

    @property
    def shortfall(self) -> str | None:
        """Why there is no number, with the bound that the counts allow; `None` if there is a number."""
        if self.misses is not None:
            return None
        if self.non_mated == 0:
            return "insufficient data: no photos of people who are not enrolled"
        return (
            f"insufficient data: {self.non_mated * self.fpir:.3g} false positives expected, "
            f"{FEWEST_FALSE_MATCHES} needed; {self.non_mated:,} non-mated searches without one would "
            f"bound the FPIR by {rule_of_three(self.non_mated):.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "fpir": self.fpir,
            "fnir": self.fnir,
            "threshold": self.threshold,
            "interval": self.interval.to_dict() if self.interval else None,
            "misses": self.misses,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "false_positives": self.false_positives,
            "insufficient": self.shortfall,
        }


@dataclass(frozen=True)
class IdentificationResult:
    """A model on a gallery of ``people`` people. ``failed`` names the photos without an embedding;
    ``failed_probes`` of them are probes, and ``not_enrolled`` people had no other photo."""

    protocol: str
    source: str
    photos: int
    people: int
    failed: tuple[str, ...]
    failed_probes: int
    not_enrolled: tuple[str, ...]
    searches: Searches
    ranks: tuple[RankPoint, ...]
    points: tuple[OpenPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "people": self.people,
            "enrolled": self.searches.enrolled,
            "not_enrolled": list(self.not_enrolled),
            "searches": {
                "mated": int(self.searches.rank.size),
                "non_mated": int(self.searches.highest.size),
                "failed": self.failed_probes,
            },
            "failures_to_acquire": failures_dict(len(self.failed), self.photos),
            "ranks": [point.to_dict() for point in self.ranks],
            "cmc": self.cmc()[:CMC_RANKS].tolist(),
            "open_set": [point.to_dict() for point in self.points],
            "caveats": [INDEPENDENT_PROBES],
        }

    def cmc(self) -> Floats:
        """The cumulative match characteristic [enrolled]: the rate at rank 1, 2, ..."""
        return cmc(self.searches)


def cmc(searches: Searches) -> Floats:
    """The share of mated searches that find their person at rank 1, 2, ... [enrolled]."""
    found = np.bincount(searches.rank, minlength=searches.enrolled + 1)[1:]
    return np.cumsum(found) / searches.rank.size
