"""How a run begins, and how one that was begun goes on."""

from __future__ import annotations

from pathlib import Path

from facekd.distillation.recipe import Recipe
from facekd.distillation.recipe_changes import told_changes
from facekd.distillation.recipe_reading import read_recipe
from facekd.errors import UsageError
from facekd.files import write_atomically
from facekd.training import RunFolder


def begin_run(recipe: Recipe, folder: Path, force: bool, resume: bool) -> None:
    """Make the run folder, or see that the one to go on with was begun with the same recipe."""
    if resume:
        run = RunFolder.open(folder)
        begun = read_recipe(folder / "recipe.toml")
        longer = _extended(begun, recipe, run)
        changes = told_changes(longer or begun, recipe)
        if changes:
            raise UsageError(
                f"{folder} was begun with another recipe: {changes}",
                "Resume with the run's own recipe.toml, or start a new run.",
            )
        if longer:
            write_atomically(folder / "recipe.toml", longer.to_toml().encode())
        return
    RunFolder.create(folder, force)
    (folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")


def _extended(begun: Recipe, recipe: Recipe, run: RunFolder) -> Recipe | None:
    """The recipe of a run with the length of ``recipe``, where that is another and the run can have it: its
    rate is constant until the last part (``wsd``), which begins after what it has a checkpoint of."""
    images = recipe.schedule.images
    if begun.schedule.shape != "wsd" or images == begun.schedule.images:
        return None
    longer = begun.model_copy(update={"schedule": begun.schedule.model_copy(update={"images": images})})
    done, stable = run.state("stable").get("step", 0), longer.plan("float32").stable_steps
    if stable is None or done > stable:
        raise UsageError(
            f"the rate of {images:,} images begins to fall before the {done * recipe.schedule.batch:,} that "
            f"{run.path} has seen",
            "Ask for more images.",
        )
    return longer


def stated_recipe(folder: Path) -> str | None:
    """The text of a run folder's recipe; `None` where there is none."""
    file = folder / "recipe.toml"
    return file.read_text(encoding="utf-8") if file.is_file() else None
