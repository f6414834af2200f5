"""What the scores between the people of a gallery give: a threshold for a rate, and suspected duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.verification.intervals import Interval
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES


@dataclass(frozen=True)
class GalleryThreshold:
    """The threshold for a rate in one gallery, or why there are too few people for it.

    ``kind`` is "fmr" or "fpir", ``rate`` the requested rate; an FPIR is that of a gallery of ``size``
    people (1 for an FMR). ``enrolled`` people were compared, in ``identity_pairs`` pairs, of which
    ``pairs_above`` reach the ``threshold``. ``interval`` is the 95 % interval of the rate there for similar
    newcomers. With ``needed`` people there is a threshold; with fewer, neither threshold nor interval.
    """

    kind: str
    rate: float
    size: int
    enrolled: int
    identity_pairs: int
    needed: int
    threshold: float | None = None
    interval: Interval | None = None
    pairs_above: int | None = None

    @property
    def shortfall(self) -> str | None:
        """Why there is no threshold, and how many people are needed; `None` if there is one."""
        if self.threshold is not None:
            return None
        what = "FMR" if self.kind == "fmr" else f"FPIR with {self.size:,} people"
        return (
            f"{what} {self.rate:g}: insufficient data, {self.enrolled:,} people are enrolled, "
            f"{self.needed:,} are needed for {FEWEST_FALSE_MATCHES} pairs of them above the threshold"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "rate": self.rate,
            "size": self.size,
            "enrolled": self.enrolled,
            "identity_pairs": self.identity_pairs,
            "needed": self.needed,
            "threshold": self.threshold,
            "interval": self.interval.to_dict() if self.interval else None,
            "pairs_above": self.pairs_above,
            "insufficient": self.shortfall,
        }


@dataclass(frozen=True)
class SuspectedDouble:
    """Two entries of a gallery with a ``score`` too high for different people by chance: one person
    under two names, twins, or a photo in the wrong folder."""

    one: str
    other: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        return {"one": self.one, "other": self.other, "score": self.score}
