"""The result of a model on photos of known people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.verification.operating_points import OperatingPoint, whole_attempts
from facekd.verification.photo_scores import AllPairs
from facekd.verification.results.base import failures_dict


@dataclass(frozen=True)
class AllPairsResult:
    """All comparisons among ``photos`` photos of ``people`` people. ``failed`` names the photos
    without an embedding; ``compared`` is the word for what was compared, photos or templates, and
    ``units`` their number."""

    protocol: str
    source: str
    photos: int
    people: int
    failed: tuple[str, ...]
    everyone: AllPairs
    points: tuple[OperatingPoint, ...]
    compared: str
    units: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "people": self.people,
            self.compared: self.units,
            "comparisons": {
                "mated": int(self.everyone.mated.size),
                "non_mated": self.everyone.non_mated,
                "failed_mated": self.everyone.lost_mated,
                "failed_non_mated": self.everyone.lost_non_mated,
            },
            "failures_to_acquire": failures_dict(len(self.failed), self.photos),
            "operating_points": [point.to_dict() for point in self.points],
            "whole_attempts": [found.to_dict() for found in whole_attempts(self.points, self.everyone.lost)],
        }
