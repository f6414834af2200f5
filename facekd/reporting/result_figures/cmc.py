"""The CMC: the share of searches that find their person up to each rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from facekd.reporting.drawing import Draw, Drawing, Theme, short_name
from facekd.reporting.result_figures._axes import Floats, legend
from facekd.reporting.result_figures._base import RESULT_FIGURES, ComparedResults
from facekd.verification.results import cmc as rates_by_rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@RESULT_FIGURES.register(50)
def cmc(compared: ComparedResults) -> Iterator[Drawing]:
    """For each model's mated searches."""
    if compared.searches:
        rates = {name: rates_by_rank(searches) for name, searches in compared.searches.items()}
        yield Drawing(
            "cmc", cmc_draw(rates), 3.4,
            f"CMC of {', '.join(rates)}: share of mated searches found up to each rank.",
            "CMC: the share of mated searches whose person is among the first N of the gallery.",
        )  # fmt: skip


def cmc_draw(models: Mapping[str, Floats]) -> Draw:
    """The share of mated searches that find their person up to each rank, from the CMC [enrolled] of each."""

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, rates) in enumerate(models.items()):
            ranks = np.arange(1, rates.size + 1)
            axes.step(ranks, 100 * rates, where="post", color=theme.colour(place), label=short_name(name))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rank, _: f"{rank:g}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.set_xlabel("rank")
        axes.set_ylabel("found up to this rank, %")
        legend(axes, theme, "best")

    return draw
