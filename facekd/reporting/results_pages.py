"""Results as one page: what was measured, the rates, the figures, the largest errors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facekd.reporting.page import FACES, Page, dated_page, write_page
from facekd.reporting.result_headlines import headlines
from facekd.reporting.result_sections import RESULT_SECTIONS, ResultsPage
from facekd.verification.results import CompatibilityResult, Evaluation, ScoreResult, ShownPair


def write_evaluation_page(
    path: str | os.PathLike[str], found: Evaluation[Any], hardest: Mapping[str, Sequence[ShownPair]]
) -> Path:
    """Write the page of ``found`` with its ``hardest`` comparisons, by model name, to ``path``.

    Raises `InputOutput` if the page cannot be written.
    """
    results = found.results()
    title = f"{_and(list(results))} on {found.protocol}"
    return write_page(path, _page(title, ResultsPage(results, found, hardest=hardest)))


def write_scores_page(path: str | os.PathLike[str], found: ScoreResult) -> Path:
    """Write the page of scores of unknown origin to ``path``, as `write_evaluation_page`."""
    name = Path(found.source).name
    return write_page(path, _page(f"Scores of {name}", ResultsPage({name: found})))


def write_compatibility_page(path: str | os.PathLike[str], found: CompatibilityResult) -> Path:
    """Write the page of two models alone and together to ``path``, as `write_evaluation_page`; no faces."""
    title = f"{_and(list(found.alone.results()))} together on {found.alone.protocol}"
    return write_page(path, _page(title, ResultsPage(found.results(), found.alone, found)))


def _page(title: str, page: ResultsPage) -> Page:
    shows_faces = any(shown.faces for pairs in page.hardest.values() for shown in pairs)
    sections = RESULT_SECTIONS.of(page)
    return dated_page(title, headlines(page.results), sections, FACES if shows_faces else None)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
