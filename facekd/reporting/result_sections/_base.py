"""The registry of the sections of a page of results, and their input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from facekd.reporting.cells import further_rows
from facekd.reporting.page import Section
from facekd.reporting.page_parts import PageParts
from facekd.reporting.table_text import table_rows
from facekd.verification.results import (
    CompatibilityResult,
    Evaluation,
    PairResult,
    Result,
    ScoreResult,
    ShownPair,
)


@dataclass(frozen=True)
class ResultsPage:
    """``results`` of one protocol by model name. They come from ``evaluation``, which is `None` for scores of
    unknown origin; ``together`` is the result for two models with each other, if that was
    measured; ``hardest`` are the hardest comparisons by model name."""

    results: Mapping[str, Result]
    evaluation: Evaluation[Any] | None = None
    together: CompatibilityResult | None = None
    hardest: Mapping[str, Sequence[ShownPair]] = field(default_factory=dict)


RESULT_SECTIONS: PageParts[ResultsPage, Section] = PageParts("facekd.reporting.result_sections")


def page_rows(result: Result) -> list[tuple[str, str]]:
    """The table of ``result``, with further rows before its last row, the failures."""
    *rows, failures = table_rows(result)
    if isinstance(result, PairResult | ScoreResult):
        rows += further_rows(result.rates)
    return [*rows, failures]
