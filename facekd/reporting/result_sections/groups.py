"""Rates by group of each model, with the heat maps of FMR and score between groups."""

from __future__ import annotations

from collections.abc import Iterator

from facekd.reporting.cells import percent
from facekd.reporting.group_heat_maps import group_drawings
from facekd.reporting.page import Cell, Section, Table
from facekd.reporting.result_sections._base import RESULT_SECTIONS, ResultsPage
from facekd.verification.results import GroupRates, Share


@RESULT_SECTIONS.register(70)
def groups(page: ResultsPage) -> Iterator[Section]:
    evaluated = page.evaluation.models if page.evaluation else ()
    models = {model.name: model.groups for model in evaluated if model.groups}
    if not models:
        return
    told = [
        f"{name}: at the threshold {rates.threshold:.4f} of FMR {rates.fmr:g} over everybody."
        for name, rates in models.items()
    ]
    caveats = dict.fromkeys(caveat for rates in models.values() for caveat in rates.caveats())
    yield Section(
        "By group",
        (*told, *caveats),
        tuple(_group_table(name, rates) for name, rates in models.items()),
        tuple(drawn.picture() for name, rates in models.items() for drawn in group_drawings(name, rates)),
    )


def _group_table(name: str, rates: GroupRates) -> Table:
    rows: tuple[tuple[str | Cell, ...], ...] = tuple(
        (
            group,
            f"{rates.photos[place]:,}",
            _share_cell(rates.fmr_of(place)),
            _share_cell(rates.fnmr_of(place)),
        )
        for place, group in enumerate(rates.names)
    )
    return Table(("Group", "Photos", "FMR within, %", "FNMR, %"), rows, f"{name} by group")


def _share_cell(share: Share) -> Cell:
    if share.rate is None or share.interval is None:
        return Cell("no comparisons")
    between = f"{percent(share.interval.low, 3)} to {percent(share.interval.high, 3)}"
    return Cell(percent(share.rate, 3), f"{between}; {share.errors:,} of {share.comparisons:,}")
