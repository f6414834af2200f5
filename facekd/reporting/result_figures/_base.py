"""The registry of the figures of results, and their input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from facekd.reporting.drawing import Drawing
from facekd.reporting.gallery_curves import gallery_scored
from facekd.reporting.page_parts import PageParts
from facekd.verification import Scored, curves_of
from facekd.verification.results import GalleryResult, IdentificationResult, Result, Searches


@dataclass(frozen=True)
class ComparedResults:
    """``results`` of one protocol by model name, and derived data that most figures need, computed once."""

    results: Mapping[str, Result | GalleryResult]

    @cached_property
    def curves(self) -> dict[str, tuple[Scored, ...]]:
        """The comparisons of the models that have any, the largest set last."""
        found = {name: _scored(result) for name, result in self.results.items()}
        return {name: parts for name, parts in found.items() if parts}

    @cached_property
    def widest(self) -> dict[str, Scored]:
        """The largest set of comparisons of each model that has any."""
        return {name: parts[-1] for name, parts in self.curves.items()}

    @cached_property
    def searches(self) -> dict[str, Searches]:
        """The searches of the models that have any."""
        return {
            name: result.searches
            for name, result in self.results.items()
            if isinstance(result, IdentificationResult | GalleryResult)
        }


def _scored(result: Result | GalleryResult) -> tuple[Scored, ...]:
    return (gallery_scored(result),) if isinstance(result, GalleryResult) else curves_of(result)


RESULT_FIGURES: PageParts[ComparedResults, Drawing] = PageParts("facekd.reporting.result_figures")


def drawings(results: Mapping[str, Result | GalleryResult]) -> tuple[Drawing, ...]:
    """The figures of ``results``, by model name, that apply to their kind. Figures that the data cannot
    show are left out."""
    return tuple(drawing for drawing in RESULT_FIGURES.of(ComparedResults(results)) if not drawing.empty)
