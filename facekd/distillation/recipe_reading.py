"""Read a recipe from its file and check all of it before anything is loaded."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from facekd.distillation.recipe import Recipe
from facekd.distillation.recipe_faults import told_faults, without_faults
from facekd.distillation.recipe_files import missing_in, resolved
from facekd.distillation.validation import faults_across
from facekd.errors import RecipeError
from facekd.files import read_text


def read_recipe(path: Path) -> Recipe:
    """The recipe in ``path``, its paths made absolute.

    Raises `InputOutput` if it cannot be read and `RecipeError`, with a list of all faults, if it is
    invalid. Missing files are listed with the faults; on their own they are no fault, since a recipe
    may be written for another machine (see `require_files`).
    """
    try:
        raw = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    base = path.parent.resolve()
    return resolved(check_recipe(raw, str(path), base), base)


def check_recipe(raw: dict[str, Any], origin: str, base: Path = Path()) -> Recipe:
    """A recipe from a parsed document with paths relative to ``base``; `RecipeError` lists all its faults
    and the missing files."""
    faults, document = [], raw
    try:
        # as JSON, which like TOML has one kind of list and writes paths as text; strict: "2" is no number
        written = json.dumps(raw, default=str, ensure_ascii=False)
        recipe = Recipe.model_validate_json(written, strict=True, context={"checked": True})
        document = recipe.model_dump()
    except ValidationError as error:
        faults, document = told_faults(error, raw, Recipe), without_faults(error, raw)
    faults += faults_across(document)  # separately, since pydantic stops where a field is wrong
    if faults:
        faults += map(str, missing_in(raw, base))
        raise RecipeError(f"{origin}: {len(faults)} fault(s)\n  " + "\n  ".join(faults))
    return recipe
