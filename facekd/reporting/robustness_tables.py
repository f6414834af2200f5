"""The accuracy lost on degraded photos, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from facekd.reporting.cells import measure, tar
from facekd.verification.results import Degraded

if TYPE_CHECKING:
    from rich.table import Table


COLUMNS = (
    "accuracy", "TAR@FMR 0.01,\nlisted pairs", "TAR@FMR 0.001,\nall pairs",
    "FMR, clean\nthreshold", "TAR, clean\nthreshold",
)  # fmt: skip


#: further columns for a model whose card has limits
LIMIT_COLUMNS = ("refused", "FMR of\nthe others")


def robustness_table(name: str, rows: Sequence[Degraded]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{escape(name)}: in %, with 95 % interval",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("degradation", no_wrap=True)
    for column in robustness_columns(rows):
        table.add_column(column)
    for row in rows:
        table.add_row(row.degradation.name, *robustness_cells(row))
    return table


def robustness_cells(found: Degraded) -> tuple[str, ...]:
    """The row of the table, in the order of `COLUMNS`."""
    accuracy, listed = found.result.accuracy, found.result.rates.points[0]
    everyone = found.result.everyone_points
    fmr, accepted = found.kept.intervals if found.kept else (None, None)
    within = measure(found.within.fmr, found.within.intervals[0]) if found.within else "none left"
    return (
        measure(accuracy.mean, accuracy.interval),
        tar(listed),
        tar(everyone[0]) if everyone else "-",
        measure(found.kept.fmr, fmr) if found.kept else "insufficient data",
        measure(found.kept.tar, accepted) if found.kept else "insufficient data",
        *([] if found.refused is None else [f"{100 * found.refused:.1f}", within]),
    )


def robustness_columns(rows: Sequence[Degraded]) -> tuple[str, ...]:
    """The headings of the columns of `robustness_cells`, with those of limits if the model has any."""
    return COLUMNS + LIMIT_COLUMNS if any(row.refused is not None for row in rows) else COLUMNS
