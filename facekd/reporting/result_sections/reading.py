"""The meaning of the terms on the page."""

from __future__ import annotations

from collections.abc import Iterator

from facekd.reporting.page import Section
from facekd.reporting.reading_words import reading_section
from facekd.reporting.result_sections._base import RESULT_SECTIONS, ResultsPage, page_rows


@RESULT_SECTIONS.register(80)
def reading(page: ResultsPage) -> Iterator[Section]:
    yield reading_section([title for result in page.results.values() for title, _ in page_rows(result)])
