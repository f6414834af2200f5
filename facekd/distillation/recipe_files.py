"""The files that a recipe names, and which of them are missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from facekd.errors import FacekdError, InputOutput
from facekd.models.teachers import KNOWN_TEACHERS, named_file

if TYPE_CHECKING:
    from facekd.distillation.recipe import Recipe

#: the settings that name files and folders
_NAMING = (
    "data.labelled", "data.unlabelled", "data.merge", "data.exclude", "data.doubts", "data.heldout",
    "student.start", "teacher.models",
)  # fmt: skip


class Missing(NamedTuple):
    """A path that does not exist, and the setting that names it."""

    place: str
    path: str

    def __str__(self) -> str:
        return f"{self.place}: {self.path} does not exist"


def missing_files(recipe: Recipe) -> list[Missing]:
    """The files and folders that the recipe names and that do not exist."""
    return missing_in(recipe.model_dump(), Path())


def require_files(recipe: Recipe, origin: str) -> None:
    """Raise `InputOutput` with the name of every file of the recipe that does not exist."""
    missing = missing_files(recipe)
    if missing:
        teachers = any(one.place == "teacher.models" for one in missing)
        named = ", ".join(one.path for one in missing)
        raise InputOutput(f"{origin} names missing files: {named}", KNOWN_TEACHERS if teachers else None)


def missing_in(raw: dict[str, Any], base: Path) -> list[Missing]:
    """The missing files below ``base`` that a recipe's document names, whatever other faults it has."""
    found = []
    for place in _NAMING:
        there = _teacher_there if place == "teacher.models" else _there
        found += [Missing(place, str(path)) for path in _named(raw, place) if not there(base, path)]
    return found


def _named(raw: dict[str, Any], place: str) -> list[str | Path]:
    """The paths that a document has at ``place``, one or several."""
    table, _, key = place.partition(".")
    settings = raw.get(table)
    value = settings.get(key) if isinstance(settings, dict) else None
    several = value if isinstance(value, list | tuple) else [value]
    return [path for path in several if isinstance(path, str | Path)]


def _there(base: Path, path: str | Path) -> bool:
    return (base / path).exists()


def _teacher_there(base: Path, spec: str | Path) -> bool:
    try:
        file = named_file(spec)
    except FacekdError:
        return True  # it names no file; the check of the teacher reports that
    return file is None or (base / file).exists() or file.exists()


def resolved(recipe: Recipe, base: Path) -> Recipe:
    """``recipe`` with its paths below ``base``; the path of a missing teacher is left unchanged."""

    def place(path: Path | None) -> Path | None:
        return None if path is None else base / path

    data = recipe.data.model_copy(
        update={
            "labelled": tuple(base / p for p in recipe.data.labelled),
            "unlabelled": tuple(base / p for p in recipe.data.unlabelled),
            "exclude": tuple(base / p for p in recipe.data.exclude),
            "merge": place(recipe.data.merge),
            "doubts": place(recipe.data.doubts),
            "heldout": place(recipe.data.heldout),
        }
    )
    teacher = recipe.teacher
    if teacher is not None:
        teacher = teacher.model_copy(update={"models": tuple(_model_at(base, m) for m in teacher.models)})
    student = recipe.student.model_copy(update={"start": place(recipe.student.start)})
    return recipe.model_copy(update={"data": data, "student": student, "teacher": teacher})


def _model_at(base: Path, spec: str) -> str:
    """``FILE`` or ``kind:...:FILE`` with FILE relative to the recipe."""
    head, separator, file = spec.rpartition(":")
    return head + separator + str(base / file) if (base / file).exists() else spec
