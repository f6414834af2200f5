"""Measure the cost of a recipe's views, and how far they move the teacher's embeddings.

Prints, for a sample of the recipe's training crops: crops decoded, views made and views labelled per
second; the cosine of the teacher's embeddings of a view and of its mirror image (which share one
cached target), and of a view and of the unaugmented crop.

    python tools/measure_views.py recipe.toml --crops 256 --threads 1
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import numpy as np

from facekd.cli import run
from facekd.distillation import read_recipe, training_crops
from facekd.errors import UsageError
from facekd.models import Teacher
from facekd.models.teachers import load_teacher

Made = TypeVar("Made")


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--crops", default=256, show_default=True, help="Crops in the sample.")
@click.option("--threads", default=1, show_default=True, help="Threads of the teacher.")
def main(recipe: Path, crops: int, threads: int) -> None:
    """Measure the views of RECIPE."""
    stated = read_recipe(recipe)
    if stated.teacher is None:
        raise UsageError("this recipe has no [teacher]")
    known = training_crops(stated)
    chosen = np.unique(np.linspace(0, len(known) - 1, crops).astype(int)).tolist()
    clean = _timed("crops decoded", lambda: np.stack([known.read(i) for i in chosen]))
    keys = [(stated.seed, i, 0) for i in chosen]
    views = _timed(
        "views made",
        lambda: np.stack([stated.augmentation.view(c, k) for c, k in zip(clean, keys, strict=True)]),
    )
    teacher = load_teacher(list(stated.teacher.models), threads=threads)
    _rows(teacher, views[:16])
    rows = _timed(f"views labelled, {threads} thread(s)", lambda: _rows(teacher, views))
    _cosines("view and mirrored view", rows, _rows(teacher, views[:, :, ::-1]))
    _cosines("view and clean crop", rows, _rows(teacher, clean))


def _rows(teacher: Teacher, crops: np.ndarray) -> np.ndarray:
    parts = [teacher.targets(crops[i : i + 64]).embedding.cpu().numpy() for i in range(0, len(crops), 64)]
    return np.concatenate(parts)


def _timed(what: str, make: Callable[[], Made]) -> Made:
    started = time.perf_counter()
    made = make()
    click.echo(f"{what}: {len(made) / (time.perf_counter() - started):.0f} a second")  # type: ignore[arg-type]
    return made


def _cosines(what: str, one: np.ndarray, other: np.ndarray) -> None:
    cosines = (one * other).sum(axis=1)
    low, middle = np.percentile(cosines, [1, 50])
    click.echo(
        f"{what}, cosine over {len(cosines)} crops: mean {cosines.mean():.3f}, median {middle:.3f}, "
        f"first percentile {low:.3f}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
