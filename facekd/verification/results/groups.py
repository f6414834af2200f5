"""The result of error rates by group of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification.intervals import Interval, wilson
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES

INDEPENDENT_COMPARISONS = (
    "Wilson's intervals treat comparisons as independent; they are too narrow if comparisons share people."
)


Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """``errors`` in ``comparisons``; the rate is `None` if there are no comparisons."""

    errors: int
    comparisons: int

    @property
    def rate(self) -> float | None:
        return self.errors / self.comparisons if self.comparisons else None

    @property
    def interval(self) -> Interval | None:
        return wilson(self.errors, self.comparisons) if self.comparisons else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "interval": self.interval.to_dict() if self.interval else None,
            "errors": self.errors,
            "comparisons": self.comparisons,
        }


@dataclass(frozen=True)
class GroupRates:
    """Rates of the groups ``names`` [G] at ``threshold``, which has ``fmr`` over everybody.

    ``photos`` [G] were embedded. ``missed`` [G] of the ``mated`` [G] comparisons within a group do
    not match; ``matches`` [G, G] of the ``non_mated`` [G, G] between two groups do (symmetric), and their
    mean score is ``likeness`` [G, G], NaN if there are none. ``across`` mated comparisons join two
    groups, ``left_out`` photos have no group: neither is counted in any rate.
    """

    fmr: float
    threshold: float
    names: tuple[str, ...]
    photos: Counts
    mated: Counts
    missed: Counts
    non_mated: Counts
    matches: Counts
    likeness: NDArray[np.float64]
    across: int
    left_out: int

    def fmr_of(self, one: int, other: int | None = None) -> Share:
        """The FMR between groups ``one`` and ``other``, or within ``one``."""
        place = one, one if other is None else other
        return Share(int(self.matches[place]), int(self.non_mated[place]))

    def fnmr_of(self, group: int) -> Share:
        return Share(int(self.missed[group]), int(self.mated[group]))

    @property
    def fmr_ratio(self) -> float | None:
        """The highest FMR of a group over the lowest; `None` if the lowest is 0 or fewer than two
        groups have one."""
        return worst_to_best([self.fmr_of(group) for group in range(len(self.names))])

    @property
    def fnmr_ratio(self) -> float | None:
        """As `fmr_ratio`."""
        return worst_to_best([self.fnmr_of(group) for group in range(len(self.names))])

    def to_dict(self) -> dict[str, Any]:
        numbers = range(len(self.names))
        return {
            "fmr": self.fmr,
            "threshold": self.threshold,
            "groups": [
                {
                    "group": self.names[group],
                    "photos": int(self.photos[group]),
                    "fmr": self.fmr_of(group).to_dict(),
                    "fnmr": self.fnmr_of(group).to_dict(),
                }
                for group in numbers
            ],
            "fmr_worst_to_best": self.fmr_ratio,
            "fnmr_worst_to_best": self.fnmr_ratio,
            "between": [
                [
                    {**self.fmr_of(one, other).to_dict(), "mean_score": self._mean(one, other)}
                    for other in numbers
                ]
                for one in numbers
            ],
            "mated_across_groups": self.across,
            "photos_without_group": self.left_out,
            "caveats": self.caveats(),
        }

    def _mean(self, one: int, other: int) -> float | None:
        return None if np.isnan(self.likeness[one, other]) else float(self.likeness[one, other])

    def caveats(self) -> list[str]:
        thin = [
            name for group, name in enumerate(self.names) if self.matches[group, group] < FEWEST_FALSE_MATCHES
        ]
        said = [INDEPENDENT_COMPARISONS]
        if thin:
            said.append(
                f"Fewer than {FEWEST_FALSE_MATCHES} false matches within {', '.join(thin)}: read the "
                "interval, not the rate."
            )
        return said


def worst_to_best(shares: Sequence[Share]) -> float | None:
    rates = [share.rate for share in shares if share.rate is not None]
    return max(rates) / min(rates) if len(rates) > 1 and min(rates) > 0 else None
