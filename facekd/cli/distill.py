"""Train a student from a teacher, as a recipe states.

A recipe is a TOML file that states data, student, teacher, losses and schedule. The run is kept
in a folder: recipe, metrics, checkpoints, card. Continue an interrupted run with --resume.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli.options import EXISTING_FILE, device_option, json_option, run_options


@click.command("distill")
@click.argument("recipe", type=EXISTING_FILE)
@click.option(
    "--teacher", multiple=True, help="Use this teacher instead of the recipe's; repeat for several."
)
@click.option(
    "--no-teacher", is_flag=True, help="Train the baseline: same student and schedule, from labels alone."
)
@run_options
@device_option
@json_option
def command(
    recipe: Path,
    folder: Path | None,
    teacher: tuple[str, ...],
    no_teacher: bool,
    images: int | None,
    seed: int | None,
    resume: bool,
    force: bool,
    threads: int | None,
    workers: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Train the student of RECIPE from its teacher.

    \b
    Example: facekd distill recipe.toml --run runs/first
             facekd distill recipe.toml --run runs/first --resume
             facekd distill recipe.toml --no-teacher --run runs/baseline
    """
    if teacher and no_teacher:
        raise click.UsageError("--teacher and --no-teacher cannot be combined.")
    from facekd.cli.train import run_and_print
    from facekd.workflows import adapted

    chosen = adapted(recipe, teacher, no_teacher, images, seed)
    name = recipe.stem + ("-baseline" if no_teacher else "")
    run_and_print(chosen, folder or Path("runs") / name, device, threads, workers, force, resume, as_json)
