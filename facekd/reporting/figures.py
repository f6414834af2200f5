"""Results as one figure, for an image file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from facekd.reporting.drawing import LIGHT, figure_of
from facekd.reporting.group_heat_maps import heat_maps
from facekd.reporting.result_figures import RESULT_FIGURES, ComparedResults
from facekd.reporting.robustness_figure import robustness_figure
from facekd.verification.results import (
    CompatibilityResult,
    Evaluation,
    GalleryEvaluation,
    GalleryResult,
    GroupRates,
    Result,
    RobustnessReport,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def results_figure(results: Mapping[str, Result | GalleryResult]) -> Figure:
    """Results of one protocol, by model name, as one figure with a colour for each model: their ROC; for
    searches CMC and FNIR over FPIR; for a gallery ROC, DET and FNIR over FPIR."""
    compared = ComparedResults(results)
    if compared.searches and compared.curves:
        return _side_by_side(compared, ("roc", "det", "open set"), 13.5, 4.5)
    if compared.searches:
        return _side_by_side(compared, ("cmc", "open set"), 10, 4.5)
    return _side_by_side(compared, ("roc",), 7, 5)


def _side_by_side(compared: ComparedResults, names: Sequence[str], width: float, height: float) -> Figure:
    """The registered figures with these ``names``, including those that the data cannot show."""
    drawn = {drawing.name: drawing.draw for drawing in RESULT_FIGURES.of(compared)}
    return figure_of([drawn[name] for name in names], LIGHT, width, height)


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
    return results_figure({found.model: found.result})


@figure.register(RobustnessReport)
def _(found: RobustnessReport) -> Figure:
    return robustness_figure(found)
