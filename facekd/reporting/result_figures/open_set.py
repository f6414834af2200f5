"""The open set: FNIR over FPIR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from facekd.reporting.drawing import Draw, Drawing, Theme, short_name
from facekd.reporting.result_figures._axes import CUT, Floats, legend, rate_axis, thinned
from facekd.reporting.result_figures._base import RESULT_FIGURES, ComparedResults
from facekd.verification import open_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@RESULT_FIGURES.register(60)
def open_set(compared: ComparedResults) -> Iterator[Drawing]:
    """For each model's searches for enrolled people and for people who are not enrolled."""
    if compared.searches:
        models = {name: open_curve(searches) for name, searches in compared.searches.items()}
        yield Drawing(
            "open set", open_set_draw(models), 3.4,
            f"Open set of {', '.join(models)}: FNIR over FPIR on a log axis.",
            "Open set: the share of enrolled people who are missed over that of others who find somebody. "
            + CUT.format("positives"),
            empty=not any(fpir.size > 1 for fpir, _ in models.values()),
        )  # fmt: skip


def open_set_draw(models: Mapping[str, tuple[Floats, Floats]]) -> Draw:
    """FNIR over FPIR (log axis), from each model's FPIR (ascending) and FNIR."""

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, (fpir, fnir)) in enumerate(models.items()):
            if fpir.size:
                shown = thinned(fpir, 100 * fnir)
                axes.step(*shown, where="post", color=theme.colour(place), label=short_name(name))
        rate_axis(axes, "x")
        axes.set_xlabel("false positive identification rate (FPIR)")
        axes.set_ylabel("FNIR, %")
        legend(axes, theme, "best")

    return draw
