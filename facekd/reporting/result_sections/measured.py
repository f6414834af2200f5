"""What was measured: models, protocol, data, detector and aligner; which photos were lost and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facekd.reporting.lost_photos import lost_photos_tables
from facekd.reporting.page import Cell, Section, Table
from facekd.reporting.result_sections._base import RESULT_SECTIONS, ResultsPage
from facekd.verification import LeftOut
from facekd.verification.results import Evaluation, ScoreResult


@RESULT_SECTIONS.register(10)
def measured(page: ResultsPage) -> Iterator[Section]:
    if page.evaluation:
        yield _of_evaluation(page.evaluation)
        return
    for result in page.results.values():
        if isinstance(result, ScoreResult):
            yield _of_scores(result)


def _of_scores(found: ScoreResult) -> Section:
    facts = (("Scores", Path(found.source).name), ("Comparisons", f"{found.scores.size:,}"))
    told = "Only the scores were given: model, detector and photos are not known."
    return Section("What was measured", (told,), (Table(("Given", "Value"), facts, "These scores"),))


def _of_evaluation(found: Evaluation[Any]) -> Section:
    lost, listed = len(found.missing) + len(found.failures), Path(found.source).name
    facts = (
        ("Protocol", found.protocol),
        *([("List", listed)] if listed != found.data.name else []),
        ("Data", found.data.name),
        ("Detector", found.detector),
        ("Aligner", found.aligner),
        ("Mirror image", "added to each crop" if found.flip else "not used"),
        ("Photos", Cell(f"{found.photos:,} named", f"{found.photos - lost:,} with an embedding")),
        ("Failures to acquire", Cell(f"{len(found.failures):,}", _share(len(found.failures), found.photos))),
        ("Missing from the data", f"{len(found.missing):,}"),
        *_left_out_facts(found.left_out),
    )
    models = tuple(
        (
            Cell(model.name, model.file.name),
            "its card" if model.has_card else "assumed: insightface's convention",
            model.space[:16],
        )
        for model in found.models
    )
    tables = (
        Table(("Given", "Value"), facts, "This evaluation"),
        Table(("Model", "Contract", "Space"), models, "Models, and where the contract of each comes from"),
        *lost_photos_tables(
            (*found.failures, *((photo, "missing from the data") for photo in found.missing)),
            "Photos without embedding",
        ),
    )
    return Section("What was measured", tables=tables)


def _left_out_facts(gone: LeftOut | None) -> Iterator[tuple[str, Cell]]:
    if gone:
        lost = f"{gone.photos:,} photos, {gone.mated:,} mated and {gone.non_mated:,} non-mated comparisons"
        yield "Left out", Cell(f"{len(gone.people):,} people", lost)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}\u202f% of the photos named"
