"""How alike groups are to a model: heat maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facekd.reporting.group_tables import rate_cell
from facekd.verification.results import GroupRates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat_maps(rates: GroupRates) -> Figure:
    """FMR between groups on the left, mean non-mated score on the right."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    count = len(rates.names)
    fmr = np.array([[rates.fmr_of(a, b).rate or np.nan for b in range(count)] for a in range(count)])
    shown = fmr[np.isfinite(fmr)]
    scale = LogNorm(shown.min(), max(shown.max(), shown.min() * 1.01)) if shown.size else None
    figure = Figure(figsize=(2 * (2.5 + 0.7 * count), 2 + 0.6 * count), dpi=150, layout="constrained")
    # adding zero turns the -0 of a rounded small number into 0
    likeness = rates.likeness.round(3) + 0
    maps = (
        (fmr, scale, lambda one, other: rate_cell(rates.fmr_of(one, other)), "FMR",
         f"FMR in %, threshold of FMR {rates.fmr:g} over everybody"),
        (rates.likeness, None, lambda one, other: f"{likeness[one, other]:.3f}", "score",
         "Mean non-mated score"),
    )  # fmt: skip
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1}
    for axes, (values, norm, told, label, title) in zip(figure.subplots(1, 2), maps, strict=True):
        drawn = axes.imshow(values, cmap="viridis", norm=norm)
        for one in range(count):
            for other in range(count):
                axes.text(other, one, told(one, other), ha="center", va="center", fontsize="small", bbox=box)
        axes.set_xticks(range(count), rates.names, rotation=45, ha="right")
        axes.set_yticks(range(count), rates.names)
        axes.set_title(title, fontsize="medium")
        figure.colorbar(drawn, label=label)
    return figure
