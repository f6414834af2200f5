"""An evaluation as one page: what was measured, how good it is, how it looks, where it goes wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facekd.reporting.evaluation_sections import (
    groups_section,
    hardest_sections,
    headlines,
    numbers_section,
    pictures_section,
    reading_section,
)
from facekd.reporting.gallery_sections import gallery_headlines, gallery_sections
from facekd.reporting.page import Cell, Page, Section, Table, write_page
from facekd.reporting.text import together
from facekd.verification import LeftOut
from facekd.verification.results import (
    CompatibilityResult,
    Evaluation,
    GalleryEvaluation,
    Result,
    ScoreResult,
    ShownPair,
)
from facekd.version import __version__

#: photos that are named for one reason of failure
_NAMED = 10
_NAMES = "This page names people. Keep it as you keep the gallery."
_FACES = (
    "This page shows faces from the data. Keep it as you keep the data, and pass it on to nobody who may "
    "not see them."
)


def write_evaluation_page(
    path: str | os.PathLike[str], found: Evaluation[Any], hardest: Mapping[str, Sequence[ShownPair]]
) -> Path:
    """Write the page of ``found`` with its ``hardest`` comparisons, by model name, to ``path``.

    Raises `InputOutput` where the page cannot be written.
    """
    return write_page(path, page_of_evaluation(found, hardest))


def write_scores_page(path: str | os.PathLike[str], found: ScoreResult) -> Path:
    """Write the page of scores of unknown origin to ``path``, as `write_evaluation_page`."""
    name = Path(found.source).name
    facts = (("Scores", name), ("Comparisons", f"{found.scores.size:,}"))
    told = "The scores came as they are: of model, detector and photos nothing is known."
    measured = Section("What was measured", (told,), (Table(("", "Given"), facts),))
    results: dict[str, Result] = {name: found}
    sections = (numbers_section(results), pictures_section(results), reading_section(results))
    return write_page(path, _page(f"Scores of {name}", headlines(results), (measured, *sections)))


def write_gallery_page(path: str | os.PathLike[str], found: GalleryEvaluation) -> Path:
    """Write the page of a gallery to ``path``, as `write_evaluation_page`; it shows no faces, but names."""
    facts = (
        ("Gallery", found.gallery.name),
        ("Probes", found.data.name),
        ("Model", Cell(found.model, found.space[:16])),
        ("Detector", found.detector),
        ("Aligner", found.aligner),
        ("Photos", Cell(f"{len(found.probes.photos):,}", f"{len(found.probes.left_out):,} left out")),
        ("Failures to acquire", f"{len(found.failures):,}"),
    )
    lost = dict(found.probes.left_out) | dict(found.failures)
    tables = (
        Table(("", "This evaluation"), facts),
        *_lost_tables(tuple(lost.items()), "Photos not compared"),
    )
    measured = Section("What was measured", found.notes, tables)
    told = gallery_headlines(found.model, found.result)
    sections = (measured, *gallery_sections(found.model, found.result))
    return write_page(path, _page(f"{found.model} on {found.gallery.name}", told, sections, _NAMES))


def write_compatibility_page(path: str | os.PathLike[str], found: CompatibilityResult) -> Path:
    """Write the page of two models alone and together to ``path``, as `write_evaluation_page`; no faces."""
    results: dict[str, Result] = dict(found.results())
    sections = (
        measured_section(found.alone),
        Section("Do the two fit together?", tuple(together(found))),
        numbers_section(results),
        _paired_section(found.alone),
        pictures_section(results),
        reading_section(results),
    )
    title = f"{_and(list(found.alone.results()))} together on {found.alone.protocol}"
    return write_page(path, _page(title, headlines(results), sections))


def page_of_evaluation(found: Evaluation[Any], hardest: Mapping[str, Sequence[ShownPair]]) -> Page:
    """The page as a value; ``hardest`` comparisons by model name."""
    results = found.results()
    groups = {model.name: model.groups for model in found.models if model.groups}
    sections = (
        measured_section(found),
        numbers_section(results),
        _paired_section(found),
        pictures_section(results),
        *hardest_sections(hardest),
        groups_section(groups),
        reading_section(results),
    )
    shows_faces = any(shown.faces for pairs in hardest.values() for shown in pairs)
    title = f"{_and(list(results))} on {found.protocol}"
    return _page(title, headlines(results), sections, _FACES if shows_faces else None)


def measured_section(found: Evaluation[Any]) -> Section:
    """Models, protocol, data, detector and aligner; which photos were lost and why."""
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
        Table(("", "This evaluation"), facts),
        Table(("Model", "Contract", "Space"), models),
        *_lost_tables(
            (*found.failures, *((photo, "missing from the data") for photo in found.missing)),
            "Photos without embedding",
        ),
    )
    return Section("What was measured", tables=tables)


def _left_out_facts(gone: LeftOut | None) -> Iterator[tuple[str, Cell]]:
    if gone:
        lost = f"{gone.photos:,} photos, {gone.mated:,} mated and {gone.non_mated:,} non-mated comparisons"
        yield "Left out", Cell(f"{len(gone.people):,} persons", lost)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}\u202f% of the photos named"


def _lost_tables(lost: Sequence[tuple[str, str]], caption: str) -> Iterator[Table]:
    """The photos (photo, reason) that were ``lost``, by reason, the most frequent first."""
    photos: dict[str, list[str]] = {}
    for photo, reason in lost:
        photos.setdefault(_reason(reason), []).append(photo)
    if photos:
        order = sorted(photos.items(), key=lambda item: -len(item[1]))
        rows = tuple((reason, f"{len(named):,}", _some(named)) for reason, named in order)
        yield Table(("Reason", "Photos", "Which"), rows, caption)


def _reason(reason: str) -> str:
    """Without the person or the file that it is about."""
    return re.sub(r"(, of | as ).*", "", reason).replace("_", " ")


def _some(photos: Sequence[str]) -> str:
    rest = len(photos) - _NAMED
    return ", ".join(photos[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def _paired_section(found: Evaluation[Any]) -> Section | None:
    if not found.paired:
        return None
    return Section("Which model is better?", tuple(pair.sentence for pair in found.paired))


def _page(
    title: str, told: Iterator[str], sections: Sequence[Section | None], notice: str | None = None
) -> Page:
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    footer = f"Made by facekd {__version__}, {made}. The page loads nothing and runs nothing."
    return Page(title, tuple(told), tuple(part for part in sections if part is not None), notice, footer)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
