"""Rates by group as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekd.reporting.cells import measure
from facekd.verification.results import GroupRates, Share

if TYPE_CHECKING:
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
        between.add_row(name, *[rate_cell(rates.fmr_of(group, other)) for other in range(len(rates.names))])
    return [own, between]


def _cell(share: Share) -> str:
    if share.rate is None:
        return "no comparisons"
    return f"{measure(share.rate, share.interval, 3)}\n  {share.errors:,} of {share.comparisons:,}"


def rate_cell(share: Share) -> str:
    """The rate alone, in per cent."""
    return "-" if share.rate is None else f"{100 * share.rate:.3f}"
