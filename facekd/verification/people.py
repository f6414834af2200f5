"""A model on photos of known persons: every comparison that they allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification.allpairs import AllPairs, all_pairs
from facekd.verification.operating import OperatingPoint, whole_attempts
from facekd.verification.pictures.plots import scored_figure
from facekd.verification.pictures.scored import Scored, score_all_pairs
from facekd.verification.result import failures_dict
from facekd.verification.tables import alone, attempt_rows, failures_row, shortfalls, tar

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

#: the false match rates at which all comparisons are judged, as far as their number allows
PEOPLE_FMRS = (1e-2, 1e-3, 1e-4, 1e-5)


@dataclass(frozen=True)
class AllPairsResult:
    """All comparisons among ``photos`` photos of ``people`` persons. ``failed`` names the photos
    without an embedding; ``compared`` is the word for what was compared, photos or templates, of
    which there are ``units``."""

    protocol: str
    source: str
    photos: int
    people: int
    failed: tuple[str, ...]
    everyone: AllPairs
    points: tuple[OperatingPoint, ...]
    compared: str
    units: int

    def scored(self) -> tuple[Scored, ...]:
        """The comparisons for pictures."""
        return (score_all_pairs(self.everyone, self.points),)

    def rows(self) -> list[tuple[str, str]]:
        points = [(f"TAR@FMR {point.fmr:g}, all pairs", tar(point)) for point in self.points]
        attempts = attempt_rows(self.points, self.everyone.lost, ", all pairs")
        return [*points, *attempts, failures_row(len(self.failed), self.photos)]

    def notes(self) -> list[str]:
        pairs = self.everyone
        return [
            f"All pairs of {self.units:,} {self.compared} of {self.people:,} persons: "
            f"{pairs.mated.size:,} mated and {pairs.non_mated:,} non-mated comparisons; "
            f"{pairs.lost_mated:,} and {pairs.lost_non_mated:,} lost to failures.",
            *shortfalls(self.points),
        ]

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

    def figure(self) -> Figure:
        return self.figure_of({self.protocol: self})

    @staticmethod
    def figure_of(results: Mapping[str, AllPairsResult]) -> Figure:
        return scored_figure({name: found.scored() for name, found in results.items()})

    def __rich__(self) -> RenderableType:
        return alone(self)


def judge_people(
    protocol: str,
    source: str,
    embeddings: NDArray[np.float32],
    people: Sequence[str],
    photos: int,
    failed: Sequence[str],
    compared: str = "photos",
) -> AllPairsResult:
    """Compare every row of ``embeddings`` [N, D] with every other; ``people`` [N] says whose it is.

    A row of NaN has no embedding. Raises `UsageError` where there is no mated or no non-mated
    comparison.
    """
    everyone = all_pairs(embeddings, people)
    return AllPairsResult(
        protocol, source, photos, len(set(people)), tuple(failed), everyone,
        tuple(everyone.operating_point(fmr) for fmr in PEOPLE_FMRS), compared, len(people),
    )  # fmt: skip
