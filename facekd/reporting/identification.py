"""Pictures of identification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from facekd.reporting.drawing import LIGHT, figure_of
from facekd.reporting.plots import cmc_draw, open_set_draw
from facekd.verification import open_curve
from facekd.verification.results import IdentificationResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def identification_figure(results: Mapping[str, IdentificationResult]) -> Figure:
    """CMC on the left, FNIR over FPIR on the right, one colour for each model of ``results``."""
    ranked = cmc_draw({name: found.cmc() for name, found in results.items()})
    opened = open_set_draw({name: open_curve(found.searches) for name, found in results.items()})
    return figure_of([ranked, opened], LIGHT, 10, 4.5)
