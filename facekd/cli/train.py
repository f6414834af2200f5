"""Train a network from labels, without a teacher (ArcFace, CosFace).

For your own teachers and for baselines: the recipe has no [teacher].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facekd.cli.options import EXISTING_FILE, device_option, json_option, run_options
from facekd.cli.output import answer, answer_json, progress, say


@click.command("train")
@click.argument("recipe", type=EXISTING_FILE)
@run_options
@device_option
@json_option
def command(
    recipe: Path,
    folder: Path | None,
    images: int | None,
    seed: int | None,
    resume: bool,
    force: bool,
    threads: int | None,
    workers: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Train the network of RECIPE from labels.

    \b
    Example: facekd train teacher.toml --run runs/teacher
    """
    from facekd.workflows import adapted

    chosen = adapted(recipe, (), False, images, seed)
    if chosen.teacher is not None:
        raise click.UsageError("This recipe has a [teacher]: use 'facekd distill'.")
    run_and_print(
        chosen, folder or Path("runs") / recipe.stem, device, threads, workers, force, resume, as_json
    )


def run_and_print(
    recipe: Any,
    folder: Path,
    device: str,
    threads: int | None,
    workers: int | None,
    force: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Run a recipe with progress bars and print the outcome."""
    from facekd.training import rank
    from facekd.workflows import train_recipe

    outcome = train_recipe(
        recipe, folder, say, progress, device=device, threads=threads, workers=workers,
        force=force, resume=resume,
    )  # fmt: skip
    if rank() > 0:
        return  # only the first process prints
    if as_json:
        answer_json({k: str(v) if isinstance(v, Path) else v for k, v in vars(outcome).items()})
        return
    answer(f"run            {outcome.folder}")
    answer(f"images seen    {outcome.images:,} ({outcome.distinct_views:,} distinct views)")
    answer(f"labelling      {outcome.label_seconds:.0f} s")
    answer(f"training       {outcome.train_seconds:.0f} s")
    if outcome.heldout_tar is not None:
        held = outcome.heldout_interval
        told = "no interval: too few people, or evaluated before the run was resumed"
        if held:
            told = f"95 % interval {held[0]:.2%} to {held[1]:.2%}"
        answer(f"held-out TAR   {outcome.heldout_tar:.2%} at FMR 1e-3 (all pairs, choosing part)")
        answer(f"               {told}")
        if outcome.teacher_heldout_tar is not None:
            answer(f"teacher        {outcome.teacher_heldout_tar:.2%}")
    answer(f"next           facekd export {outcome.folder}")
