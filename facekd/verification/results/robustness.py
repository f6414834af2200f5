"""The result of measuring the accuracy lost on degraded photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekd.preprocess import Degradation
from facekd.verification.intervals import Interval, wilson
from facekd.verification.results.listed_pairs import PairResult


@dataclass(frozen=True)
class AtCleanThreshold:
    """Listed pairs of degraded crops at the threshold of clean crops for FMR 1e-2: ``false_matches``
    of ``non_mated`` comparisons match, ``misses`` of ``mated`` ones do not."""

    threshold: float
    mated: int
    misses: int
    non_mated: int
    false_matches: int

    @property
    def fmr(self) -> float:
        return self.false_matches / self.non_mated

    @property
    def tar(self) -> float:
        return 1 - self.misses / self.mated

    @property
    def intervals(self) -> tuple[Interval, Interval]:
        """The intervals of FMR and TAR; they treat pairs as independent."""
        return (
            wilson(self.false_matches, self.non_mated),
            wilson(self.mated - self.misses, self.mated),
        )

    def to_dict(self) -> dict[str, Any]:
        fmr, accepted = self.intervals
        return {
            "threshold": self.threshold,
            "fmr": {"value": self.fmr, "interval": fmr.to_dict()},
            "tar": {"value": self.tar, "interval": accepted.to_dict()},
            "mated": self.mated,
            "non_mated": self.non_mated,
        }


@dataclass(frozen=True)
class Degraded:
    """One model under one degradation. ``kept`` is `None` if clean crops have no threshold. If the
    model's card has limits, they refuse the share ``refused`` of the degraded photos, and ``within`` is
    ``kept`` for the other comparisons (`None` if mated or non-mated ones are missing)."""

    degradation: Degradation
    result: PairResult
    kept: AtCleanThreshold | None
    refused: float | None = None
    within: AtCleanThreshold | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.degradation.kind,
            "level": self.degradation.level,
            "accuracy": self.result.accuracy.to_dict(),
            "listed_pairs": [point.to_dict() for point in self.result.rates.points],
            "all_pairs": [point.to_dict() for point in self.result.everyone_points],
            "at_clean_threshold": self.kept.to_dict() if self.kept else None,
            "refused": self.refused,
            "at_clean_threshold_within_limits": self.within.to_dict() if self.within else None,
        }


@dataclass(frozen=True)
class RobustnessReport:
    """The result of `measure_robustness`: for each model by name, `CLEAN` and every degradation in order.
    ``failures`` (photo, reason) have no crop."""

    protocol: str
    source: str
    data: Path
    detector: str
    aligner: str
    one_side: bool
    photos: int
    failures: tuple[tuple[str, str], ...]
    models: dict[str, tuple[Degraded, ...]]

    @property
    def side(self) -> str:
        return "the second photo of each pair" if self.one_side else "both photos of each pair"

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "data": str(self.data),
            "detector": self.detector,
            "aligner": self.aligner,
            "degraded": "second" if self.one_side else "both",
            "photos": {
                "named": self.photos,
                "failures_to_acquire": [{"photo": p, "reason": r} for p, r in self.failures],
            },
            "models": [
                {"name": name, "degradations": [row.to_dict() for row in rows]}
                for name, rows in self.models.items()
            ],
        }
