"""Models compared with each other: which is better, and whether two are compatible."""

from __future__ import annotations

from collections.abc import Iterator

from facekd.reporting.page import Section
from facekd.reporting.result_sections._base import RESULT_SECTIONS, ResultsPage
from facekd.reporting.text import together


@RESULT_SECTIONS.register(20)
def fitting(page: ResultsPage) -> Iterator[Section]:
    if page.together:
        yield Section("Are the two compatible?", tuple(together(page.together)))


@RESULT_SECTIONS.register(40)
def paired(page: ResultsPage) -> Iterator[Section]:
    if page.evaluation and page.evaluation.paired:
        yield Section("Which model is better?", tuple(pair.sentence for pair in page.evaluation.paired))
