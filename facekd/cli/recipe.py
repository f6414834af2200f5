"""List the recipes that come with facekd, show or copy one, or check your own."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facekd.cli.options import ANY_PATH, EXISTING_FILE, CommandsGroup, RegisteredName, json_option
from facekd.cli.output import answer, answer_json, say

if TYPE_CHECKING:
    from facekd.distillation import CropCopy, Recipe

_FOLDER = Path(__file__).parent.parent / "recipes"


def _names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


_name_argument = click.argument("name", type=RegisteredName(_names))


def _shipped(name: str) -> Path:
    file = _FOLDER / f"{name.removesuffix('.toml')}.toml"
    if not file.is_file():
        known = _names()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(known)}."
        raise click.UsageError(f"No recipe '{name}'. {hint}")
    return file


@click.group("recipe", cls=CommandsGroup)
def command() -> None:
    """List, show, copy and check recipes, the files that describe a training run.

    \b
    Example: facekd recipe list
             facekd recipe copy student my.toml
             facekd recipe check my.toml
    """


@command.command("list")
@json_option
def list_recipes(as_json: bool) -> None:
    """List the recipes that come with facekd, one per line."""
    found = {path.stem: _about(path) for path in sorted(_FOLDER.glob("*.toml"))}
    if as_json:
        answer_json(found)
        return
    width = max(map(len, found))
    for name, about in found.items():
        answer(f"{name:<{width}}  {about}")


def _about(path: Path) -> str:
    """The first line of a recipe, its comment."""
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


@command.command("show")
@_name_argument
def show_recipe(name: str) -> None:
    """Print the recipe NAME."""
    answer((_shipped(name).read_text(encoding="utf-8")).rstrip("\n"))


@command.command("copy")
@_name_argument
@click.argument("target", type=ANY_PATH)
def copy_recipe(name: str, target: Path) -> None:
    """Copy the recipe NAME to TARGET, for you to edit."""
    text = _shipped(name).read_text(encoding="utf-8")
    if target.is_dir():
        target = target / f"{name.removesuffix('.toml')}.toml"
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise click.UsageError(f"{target} exists already.") from error
    say(f"{target}: edit its paths, then run facekd recipe check {target}")


@command.command("check")
@click.argument("recipe", type=EXISTING_FILE)
@click.option(
    "--data", "with_data", is_flag=True,
    help="Also read the crops: report unusable ones and copies of held-out ones.",
)  # fmt: skip
@json_option
def check_recipe(recipe: Path, with_data: bool, as_json: bool) -> None:
    """Check RECIPE and report all its faults at once, including missing files.

    With --data, copies of held-out crops are listed as PACK/NAME, the format of data.exclude.
    """
    from facekd.card import read_card
    from facekd.distillation import WITHOUT_CARD, read_recipe, require_files

    read = read_recipe(recipe)
    require_files(read, str(recipe))
    for model in read.teacher.models if read.teacher else ():
        if model.endswith(".onnx") and not read_card(model)[1]:
            say(f"note: {model} {WITHOUT_CARD}")
    crops, copies = _checked_data(read) if with_data else ("", ())
    if as_json:
        found: dict[str, Any] = {
            "recipe": str(recipe), "images": read.schedule.images, "steps": read.schedule.steps,
        }  # fmt: skip
        if with_data:
            found |= {"crops": crops, "heldout_copies": [asdict(copy) for copy in copies]}
        answer_json(found)
        return
    losses = ", ".join(f"{table.weight:g} {table.name}" for table in read.loss)
    teacher = "none"
    if read.teacher:
        teacher = ", ".join(read.teacher.models) or f"{read.teacher.network}, co-trained"
    answer(f"student {read.student.name}; teacher {teacher}; losses {losses}")
    if with_data:
        answer(crops)
        answer(f"{len(copies):,} of them are copies of held-out crops{':' if copies else ''}")
        for copy in copies:
            answer(f"{copy.crop}  ({copy.heldout}, {copy.likeness:.3f})")
    answer(f"{read.schedule.images:,} images in {read.schedule.steps:,} steps of {read.schedule.batch}")


def _checked_data(recipe: Recipe) -> tuple[str, tuple[CropCopy, ...]]:
    from facekd.workflows import check_training_data

    return check_training_data(recipe, lambda told: say(f"note: {told}"))
