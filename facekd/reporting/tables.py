"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from facekd.reporting.compatibility_tables import threshold_table
from facekd.reporting.gallery_tables import gallery_table
from facekd.reporting.group_tables import group_tables, times_or_not
from facekd.reporting.robustness_tables import robustness_table
from facekd.reporting.table_text import table_notes, table_rows
from facekd.reporting.text import lines
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
    from rich.console import RenderableType
    from rich.table import Table


def results_table(results: Mapping[str, Result]) -> Table:
    """Results of one protocol side by side; ``results`` by model name."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_header=any(results), pad_edge=False)
    table.add_column("in %, with 95 % interval")
    for name in results:
        table.add_column(name, overflow="fold")
    columns = [dict(table_rows(result)) for result in results.values()]
    # only models that lost comparisons have rows of transaction error rates
    for title in dict.fromkeys(title for column in columns for title in column):
        table.add_row(title, *[column.get(title, "-") for column in columns])
    return table


@singledispatch
def table(found: Any) -> RenderableType:
    """The table of a protocol's result with its notes, or the tables and sentences of a whole
    measurement."""
    from rich.console import Group
    from rich.text import Text

    return Group(results_table({"": found}), *[Text(line) for line in table_notes(found)])


@table.register(GalleryResult)
def _(result: GalleryResult) -> RenderableType:
    return gallery_table(result)


@table.register(GroupRates)
def _(result: GroupRates) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    said = (
        f"By group, at the threshold {result.threshold:.4f} of FMR {result.fmr:g} over everybody. Worst to "
        f"best: FMR {times_or_not(result.fmr_ratio)}, FNMR {times_or_not(result.fnmr_ratio)}. "
        f"{result.left_out:,} photos without group; {result.across:,} mated comparisons across groups are "
        "left out."
    )
    return Group(Text(said), *group_tables(result), *[Text(line) for line in result.caveats()])


@table.register(Evaluation)
def _(result: Evaluation) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    by_group = [part for m in result.models if m.groups for part in (Text(f"\n{m.name}"), table(m.groups))]
    return Group(results_table(result.results()), *[Text(line) for line in lines(result)], *by_group)


@table.register(RobustnessReport)
def _(result: RobustnessReport) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    tables = [robustness_table(name, rows) for name, rows in result.models.items()]
    return Group(*tables, *[Text(line) for line in lines(result)])


@table.register(CompatibilityResult)
def _(result: CompatibilityResult) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return Group(
        results_table(result.results()),
        threshold_table(result.results()),
        *[Text(line) for line in lines(result)],
    )


@table.register(GalleryEvaluation)
def _(result: GalleryEvaluation) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return Group(*[Text(line) for line in lines(result)], table(result.result))
