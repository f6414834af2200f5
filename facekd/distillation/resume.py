"""Start a run, or resume one, only with the inputs that it was started with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from facekd.distillation.recipe import Recipe
from facekd.distillation.recipe_changes import told_changes
from facekd.distillation.recipe_reading import read_recipe
from facekd.errors import Unreadable, UsageError
from facekd.files import write_atomically
from facekd.models import Teacher
from facekd.models.teachers import members_of
from facekd.training import RunFolder
from facekd.training.data import CropSet

#: what differs, in words, by the key of a contract
_WORDS = {
    "crops": "the training crops (their names, sizes, checksums or dates)",
    "labels": "the labels of the crops (folders, merge or doubts)",
    "augmentation": "the augmentation",
}


def begin_run(recipe: Recipe, folder: Path, force: bool, resume: bool) -> None:
    """Make the run folder, or check that the run to resume was started with the same recipe."""
    if not resume:
        created = RunFolder.create(folder, force)
        try:
            (folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
        except BaseException:
            created.discard()  # it never started
            raise
        return
    run = RunFolder.open(folder)
    run.repair()
    begun = _begun_with(run)
    longer = _extended(begun, recipe, run)
    changes = told_changes(longer or begun, recipe)
    if changes:
        raise UsageError(
            f"{folder} was started with another recipe: {changes}",
            "Resume with the run's own recipe.toml, or start a new run.",
        )
    if stated_recipe(folder) != recipe.to_toml():
        write_atomically(folder / "recipe.toml", recipe.to_toml().encode())


def stated_recipe(folder: Path) -> str | None:
    """The text of a run folder's recipe; `None` if there is none."""
    file = folder / "recipe.toml"
    return file.read_text(encoding="utf-8") if file.is_file() else None


def run_contract(recipe: Recipe, crops: CropSet, teacher: Teacher | None) -> dict[str, Any]:
    """The inputs of a run, for its checkpoints: the recipe, the spaces of its teachers, the crops with
    their labels, and the augmentation."""
    members = members_of(teacher) if teacher else ()
    labels = hashlib.sha256("\n".join(crops.people).encode() + b"\0" + crops.labels.tobytes())
    return {
        "recipe": recipe.model_dump(mode="json"),
        "teachers": [{"name": member.name, "space": member.space} for member in members],
        "crops": crops.digest,
        "labels": labels.hexdigest(),
        "augmentation": recipe.augmentation.digest,
    }


def require_same(run: RunFolder, contract: dict[str, Any]) -> None:
    """Raise `UsageError` that says which part of ``contract`` has changed since the run's last checkpoint.
    For a checkpoint of version 0.1.0 only the teacher is known, from the run's card."""
    begun = run.state().get("contract") or _known_by_card(run)
    changed = [words for key, words in _WORDS.items() if key in begun and begun[key] != contract[key]]
    if "teachers" in begun and begun["teachers"] != contract["teachers"]:
        before, now = _teachers(begun["teachers"]), _teachers(contract["teachers"])
        changed.insert(0, f"the teacher ({before}, now {now})")
    if changed:
        raise UsageError(
            f"{run.path} was started with different inputs: {'; '.join(changed)}",
            "Restore the original inputs, or start a new run.",
        )


def _teachers(stated: list[dict[str, str]]) -> str:
    return " + ".join(f"{one['name']} of space {one['space'][:12]}" for one in stated) or "none"


def _known_by_card(run: RunFolder) -> dict[str, Any]:
    file = run.path / "card.json"
    try:
        teacher = json.loads(file.read_text(encoding="utf-8"))["teacher"] if file.is_file() else None
    except (ValueError, KeyError):
        return {}
    # of several teachers the card has one name and one space for all together
    several = teacher is not None and " + " in teacher["name"]
    return {"teachers": [teacher]} if teacher and not several else {}


def _begun_with(run: RunFolder) -> Recipe:
    """The recipe of a run's last checkpoint; without a checkpoint, the one in its folder."""
    stored = run.state().get("contract", {}).get("recipe")
    if stored is None:
        return read_recipe(run.path / "recipe.toml")
    try:
        return Recipe.model_validate_json(json.dumps(stored), context={"checked": True})
    except ValidationError as error:
        raise Unreadable(
            f"{run.path}: this version of facekd cannot read the recipe in its checkpoint ({error})"
        ) from error


def _extended(begun: Recipe, recipe: Recipe, run: RunFolder) -> Recipe | None:
    """The run's recipe with the length of ``recipe``, if that differs and is possible: the learning rate is
    constant until the cooldown (``wsd``), and the cooldown starts after the last checkpoint."""
    images = recipe.schedule.images
    if begun.schedule.shape != "wsd" or images == begun.schedule.images:
        return None
    longer = begun.model_copy(update={"schedule": begun.schedule.model_copy(update={"images": images})})
    done, stable = run.state("stable").get("step", 0), longer.plan("float32").stable_steps
    if stable is None or done > stable:
        raise UsageError(
            f"with {images:,} images the learning rate begins to fall before the "
            f"{done * recipe.schedule.batch:,} images that {run.path} has seen",
            "Ask for more images.",
        )
    return longer
