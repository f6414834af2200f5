"""Results as one figure, for a picture file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from facekd.reporting.gallery_drawings import gallery_figure
from facekd.reporting.groups import heat_maps
from facekd.reporting.identification import identification_figure
from facekd.reporting.plots import scored_figure
from facekd.reporting.robustness_figure import robustness_figure
from facekd.verification import curves_of
from facekd.verification.results import (
    CompatibilityResult,
    Evaluation,
    GalleryEvaluation,
    GroupRates,
    IdentificationResult,
    Result,
    RobustnessReport,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def results_figure(results: Mapping[str, Result]) -> Figure:
    """Results of one protocol, by model name: their ROC, or of searches CMC and FNIR over FPIR."""
    searched = {name: found for name, found in results.items() if isinstance(found, IdentificationResult)}
    if searched:
        return identification_figure(searched)
    return scored_figure({name: curves_of(found) for name, found in results.items()})


@singledispatch
def figure(found: Any) -> Figure:
    """The figure of a protocol's result, or of a whole measurement."""
    return results_figure({found.protocol: found})


@figure.register(GroupRates)
def _(found: GroupRates) -> Figure:
    return heat_maps(found)


@figure.register(Evaluation)
def _(found: Evaluation) -> Figure:
    return results_figure(found.results())


@figure.register(CompatibilityResult)
def _(found: CompatibilityResult) -> Figure:
    return results_figure(found.results())


@figure.register(GalleryEvaluation)
def _(found: GalleryEvaluation) -> Figure:
    return gallery_figure({found.model: found.result})


@figure.register(RobustnessReport)
def _(found: RobustnessReport) -> Figure:
    return robustness_figure(found)
