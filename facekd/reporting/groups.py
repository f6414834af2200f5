"""Tables and heat maps of rates by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facekd.reporting.cells import measure
from facekd.verification.results import GroupRates, Share

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


def times_or_not(ratio: float | None) -> str:
    return "not defined (the best has none)" if ratio is None else f"{ratio:.1f} times"


def group_tables(rates: GroupRates) -> list[Table]:
    """Each group's own rates, and the FMR between groups."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    own, between = (Table(box=SIMPLE_HEAD, pad_edge=False) for _ in range(2))
    for column in ("in %, with 95 % interval", "photos", "FMR within", "FNMR"):
        own.add_column(column)
    for column in ("FMR between groups, in %", *rates.names):
        between.add_column(column)
    for group, name in enumerate(rates.names):
        own.add_row(name, f"{rates.photos[group]:,}", _cell(rates.fmr_of(group)), _cell(rates.fnmr_of(group)))
        between.add_row(name, *[_rate(rates.fmr_of(group, other)) for other in range(len(rates.names))])
    return [own, between]


def _cell(share: Share) -> str:
    if share.rate is None:
        return "no comparisons"
    return f"{measure(share.rate, share.interval, 3)}\n  {share.errors:,} of {share.comparisons:,}"


def _rate(share: Share) -> str:
    return "-" if share.rate is None else f"{100 * share.rate:.3f}"


def heat_maps(rates: GroupRates) -> Figure:
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
        (fmr, scale, lambda one, other: _rate(rates.fmr_of(one, other)), "FMR",
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
