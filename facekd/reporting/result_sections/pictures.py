"""The figures of the results."""

from __future__ import annotations

from collections.abc import Iterator

from facekd.reporting.page import Section
from facekd.reporting.result_figures import drawings
from facekd.reporting.result_sections._base import RESULT_SECTIONS, ResultsPage


@RESULT_SECTIONS.register(50)
def pictures(page: ResultsPage) -> Iterator[Section]:
    """The figures from `drawings`, if there are any."""
    drawn = tuple(drawing.picture() for drawing in drawings(page.results))
    if drawn:
        yield Section("Pictures", pictures=drawn)
