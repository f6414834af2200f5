"""Training from the shell: a recipe with what the call changes, run with progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facekd.distill import Outcome, Recipe, Report, read_recipe, run_recipe
from facekd.distill.recipe import check_recipe
from facekd.training import Progress


def cache_folder() -> Path:
    """Where targets and converted networks are kept: ``FACEKD_CACHE``, else the user's cache."""
    import platformdirs

    return Path(os.environ.get("FACEKD_CACHE") or platformdirs.user_cache_dir("facekd"))


def adapted(
    path: Path, teachers: tuple[str, ...], no_teacher: bool, images: int | None, seed: int | None
) -> Recipe:
    """The recipe in ``path`` with what the call changes; it is checked again."""
    recipe = read_recipe(path)
    if no_teacher:
        recipe = recipe.without_teacher()
    changed: dict[str, Any] = recipe.model_dump()
    if teachers:
        changed["teacher"] = {**(changed["teacher"] or {}), "models": teachers}
    if images is not None:
        changed["schedule"]["images"] = images
    if seed is not None:
        changed["seed"] = seed
    return check_recipe(changed, str(path))


def train(
    recipe: Recipe,
    folder: Path,
    say: Callable[[str], None],
    labels: Callable[..., None],
    bar: Callable[..., None],
    **settings: Any,
) -> Outcome:
    """`run_recipe` with progress told to two bars; ``bar(done, note)`` and ``labels(done)``."""
    seen = 0

    def trained(step: Progress) -> None:
        nonlocal seen
        bar(step.images - seen, note=f"{step.images_per_second:.0f} images/s, loss {step.loss:.4f}")
        seen = step.images

    report = Report(say, lambda done, total: labels(done), trained)
    return run_recipe(recipe, folder, report, cache=cache_folder() / "targets", **settings)
