"""The result of a calibration on groups of similar people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekd.card import Card, SimilarPeople


@dataclass(frozen=True)
class SimilarCalibrated:
    """The result of `calibrate --groups`: ``similar``, written into ``card``. ``failures`` and ``left_out``
    are photos with the reason; ``replaced`` is what the card had before."""

    file: Path
    card: Card
    similar: SimilarPeople
    failures: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    replaced: SimilarPeople | None
    notes: tuple[str, ...]

    @property
    def replaced_thresholds(self) -> list[str]:
        """Each threshold that was replaced, in words."""
        before = self.replaced
        if before is None:
            return []
        return [
            f"threshold {one.threshold:.4f} at FMR {one.fmr:g} within {one.group} ({before.data})"
            for one in before.thresholds
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "model": {"name": self.card.name, "space": self.card.space, "digest": self.card.digest},
            "similar": self.similar.model_dump(mode="json"),
            "failures_to_acquire": [{"photo": p, "reason": r} for p, r in self.failures],
            "left_out": [{"photo": p, "reason": r} for p, r in self.left_out],
            "replaced": (
                [{"fmr": one.fmr, "data": self.replaced.data} for one in self.replaced.thresholds]
                if self.replaced
                else []
            ),
            "notes": list(self.notes),
        }
