"""The result of evaluating an enrolled gallery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from facekd.verification.results.gallery import GalleryResult


@dataclass(frozen=True)
class Probes:
    """The photos to compare, ``photos`` [N] of ``people`` [N]; ``left_out`` (photo, reason) are those
    that would not give a comparison of two photos."""

    photos: tuple[str, ...]
    people: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


class GalleryPlace(Protocol):
    """A file or a database: as text it is named wholly, by ``name`` without where it is."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class GalleryEvaluation:
    """The result of `evaluate_gallery`. ``failures`` (photo, reason) have no embedding; ``notes`` say how
    the gallery was made in another way than the probes."""

    gallery: GalleryPlace
    data: Path
    model: str
    space: str
    has_card: bool
    detector: str
    aligner: str
    probes: Probes
    failures: tuple[tuple[str, str], ...]
    seconds: float
    notes: tuple[str, ...]
    result: GalleryResult

    @property
    def photos_per_second(self) -> float:
        """The rate from file to embedding."""
        return len(self.probes.photos) / self.seconds

    def to_dict(self) -> dict[str, Any]:
        return {
            "gallery": str(self.gallery),
            "probes": str(self.data),
            "model": {"name": self.model, "space": self.space, "has_card": self.has_card},
            "detector": self.detector,
            "aligner": self.aligner,
            "photos": {
                "probes": len(self.probes.photos),
                "left_out": [{"photo": p, "reason": r} for p, r in self.probes.left_out],
                "failures_to_acquire": [{"photo": p, "reason": r} for p, r in self.failures],
            },
            "notes": list(self.notes),
            **self.result.to_dict(),
        }
