"""The result of a calibration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekd.card import Calibration, Card, Sample
from facekd.verification.score_map_fit import FittedMap


@dataclass(frozen=True)
class People:
    """The photos of a calibration and their people: ``photos`` [N] of ``labels`` [N]. ``left_out``
    are photos of nobody or that are repeated, with the reason."""

    photos: tuple[str, ...]
    labels: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    digest: str

    @property
    def non_mated(self) -> int:
        """The comparisons between two people, if no photo fails."""
        counts = Counter(self.labels).values()
        return (sum(counts) ** 2 - sum(count**2 for count in counts)) // 2

    @property
    def sample(self) -> Sample:
        return Sample(people=len(set(self.labels)), photos=len(self.photos), digest=self.digest)


@dataclass(frozen=True)
class Refused:
    """A rate that the data cannot show, with the reason and what would be needed."""

    fmr: float
    cause: str
    fix: str


@dataclass(frozen=True)
class Calibrated:
    """The result of `calibrate`, written into ``card``. ``failures`` (photo, reason) have no
    embedding; ``replaced`` are the thresholds that the card had before."""

    file: Path
    card: Card
    people: People
    failures: tuple[tuple[str, str], ...]
    refused: tuple[Refused, ...]
    fitted: FittedMap | None
    no_map: str | None
    no_limits: str | None
    replaced: tuple[Calibration, ...]
    notes: tuple[str, ...]

    @property
    def replaced_thresholds(self) -> list[str]:
        """Each threshold that was replaced, in words."""
        return [
            f"threshold {entry.threshold:.4f} at FMR {entry.fmr:g} ({entry.data})" for entry in self.replaced
        ]

    def to_dict(self) -> dict[str, Any]:
        fitted, score_map, limits = self.fitted, self.card.score_map, self.card.photo_limits
        return {
            "file": str(self.file),
            "model": {"name": self.card.name, "space": self.card.space, "digest": self.card.digest},
            "calibration": [entry.model_dump(mode="json") for entry in self.card.calibration],
            "refused": [{"fmr": r.fmr, "cause": r.cause, "fix": r.fix} for r in self.refused],
            "score_map": score_map.model_dump(mode="json") if score_map else None,
            "held_out_cllr": fitted.cllrs if fitted else None,
            "folds": fitted.folds if fitted else None,
            "no_score_map": self.no_map,
            "photo_limits": limits.model_dump(mode="json") if limits else None,
            "no_photo_limits": self.no_limits,
            "failures_to_acquire": [{"photo": p, "reason": r} for p, r in self.failures],
            "left_out": [{"photo": p, "reason": r} for p, r in self.people.left_out],
            "replaced": [{"fmr": entry.fmr, "data": entry.data} for entry in self.replaced],
            "notes": list(self.notes),
        }
