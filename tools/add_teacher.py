"""Give the weights of a leg the projector rows of further teachers, fitted to training crops.

    python tools/keep_weights.py unpack data/student/leg7.safetensors leg7.safetensors
    python tools/add_teacher.py leg.toml leg7.safetensors start.safetensors

The recipe leg.toml names the teachers that START was trained with, in their order, and the further ones after
them. A projector of another size would begin at random, and undo at first what the student has learned. Here
the rows that there are stay as they are. Those of each further teacher are the ridge regression of its unit
embeddings on the student's, on crops spread over the training data; of the strengths below, the one whose
predictions are nearest on a fifth of the crops, which are left out. They are scaled as the rows of the first
teacher are against its own regression, so that every teacher keeps the same share in the joined embedding.
The rest of START is copied. Use the result as ``student.start`` with ``start_by = "whole"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from facekd.cli import run
from facekd.cli.options import ANY_PATH, EXISTING_FILE
from facekd.distillation import embed_crops, read_recipe, training_crops
from facekd.errors import Misfit, UsageError
from facekd.models import Teacher, build_model
from facekd.models.teachers import load_teacher
from facekd.training import load_weights
from facekd.training.data import CropSet

#: strengths of the ridge, for sums over crops of unit embeddings
STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-6, 3))
BATCH = 64

Floats = NDArray[np.floating]


class Fitted(NamedTuple):
    """``rows`` [T, D] that predict a teacher's embeddings, and the mean cosine of what they predict for
    crops that they were not fitted to."""

    rows: Floats
    cosine: float


def ridge(student: Floats, teacher: Floats) -> Fitted:
    """The regression of unit rows ``teacher`` [N, T] on unit rows ``student`` [N, D], N >= 5."""
    left_out = np.arange(len(student)) % 5 == 4
    x, y = student[~left_out].astype(np.float64), teacher[~left_out].astype(np.float64)
    fits = []
    for strength in STRENGTHS:
        rows = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y).T
        fits.append(Fitted(rows, _mean_cosine(student[left_out] @ rows.T, teacher[left_out])))
    return max(fits, key=lambda fit: fit.cosine)


def _mean_cosine(found: Floats, wanted: Floats) -> float:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    return float(((found * wanted).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())


def further_rows(student: Floats, known: Floats, first: Floats, further: Sequence[Floats]) -> list[Fitted]:
    """For each of the ``further`` teachers' unit embeddings [N, T] its rows [T, D], on the scale of the rows
    ``known`` [T, D] of the teacher with the embeddings ``first`` [N, T]; ``student`` [N, D] are unit rows."""
    own = ridge(student, first).rows
    scale = np.linalg.norm(student @ known.T, axis=1).mean() / np.linalg.norm(student @ own.T, axis=1).mean()
    return [Fitted(fit.rows * scale, fit.cosine) for fit in (ridge(student, one) for one in further)]


def _projector(weights: dict[str, Tensor], start: Path) -> str:
    """The name of the one linear projector in ``weights``."""
    found = [name for name in weights if name.startswith("losses.") and name.endswith("projector.weight")]
    if len(found) != 1:
        raise UsageError(
            f"{start} has {len(found)} linear projectors, not one",
            "Give what keep_weights.py unpack wrote of a run whose one loss is a cosine to joined teachers.",
        )
    return found[0]


def _embedded(teacher: Teacher, crops: CropSet) -> Floats:
    """The teacher's unit rows [N, T] of ``crops``."""
    rows = []
    for begin in range(0, len(crops), BATCH):
        pixels = np.stack([crops.read(i) for i in range(begin, min(begin + BATCH, len(crops)))])
        rows.append(teacher.targets(pixels).embedding.cpu().numpy())
    return np.concatenate(rows)


@click.command()
@click.argument("recipe", type=EXISTING_FILE)
@click.argument("start", type=EXISTING_FILE)
@click.argument("out", type=ANY_PATH)
@click.option(
    "--crops", type=click.IntRange(min=100), default=2048, show_default=True, help="How many to fit to."
)
def main(recipe: Path, start: Path, out: Path, crops: int) -> None:
    """Write START with the projector rows of RECIPE's further teachers to OUT."""
    chosen = read_recipe(recipe)
    weights = load_file(start)
    name = _projector(weights, start)
    if chosen.teacher is None:
        raise UsageError(f"{recipe} names no teachers")
    members = [load_teacher(model) for model in chosen.teacher.models]
    counts = [member.dim for member in members]
    known = weights[name].float().numpy()
    there = next((n for n in range(1, len(counts)) if sum(counts[:n]) == len(known)), None)
    if there is None:
        raise Misfit(
            f"{start} projects to {len(known)} values, the recipe's teachers have "
            f"{', '.join(map(str, counts))}",
            "Name those that it was trained with first, in their order, and the further ones after them.",
        )
    every = training_crops(chosen)
    spread = np.zeros(len(every), bool)
    spread[np.linspace(0, len(every) - 1, min(crops, len(every))).astype(int)] = True
    some = every.take(spread)
    student = build_model(chosen.student.name, **chosen.student.settings)
    student.load_state_dict(load_weights(start))
    rows = embed_crops(student.eval(), some)
    first, *others = (_embedded(member, some) for member in (members[0], *members[there:]))
    fits = further_rows(rows, known[: counts[0]], first, others)
    for member, fit in zip(members[there:], fits, strict=True):
        click.echo(
            f"{member.name}: {len(fit.rows)} rows, mean cosine {fit.cosine:.3f} on crops not fitted to"
        )
    weights[name] = torch.from_numpy(np.concatenate([known, *(fit.rows for fit in fits)]).astype(np.float32))
    with safe_open(start, "pt") as file:
        save_file(weights, out, file.metadata())
    click.echo(f"{out}: {len(weights[name])} rows, fitted to {len(some)} crops")


if __name__ == "__main__":
    raise SystemExit(run(main))
