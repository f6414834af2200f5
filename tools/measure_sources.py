"""Measure how near a student comes to its teachers on every source of crops.

    python tools/measure_sources.py runs/a runs/b --data train-labelled-1.zip --data train-unlabelled-1.zip

Each RUN is a student whose embedding a linear projector took to its teachers' joined one. A source is the
folder of a crop up to a hyphen (`celeba-01234/001.webp` is of `celeba`); identities that the run's recipe
holds out are the source `held out`. The table has the mean cosine of the projected embedding to the joined
teachers' over --crops crops of each source, chosen by their names.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from facekd.cli import run
from facekd.cli.options import EXISTING
from facekd.distillation import read_recipe
from facekd.models import FaceNet, build_model, to_planes
from facekd.preprocess import decode, open_source
from facekd.runtime import load_embedder
from facekd.training import load_weights
from facekd.training.data import read_list

Crops = NDArray[np.uint8]


def sampled(data: tuple[Path, ...], held: set[str], count: int) -> dict[str, Crops]:
    """``count`` crops [N, 112, 112, 3] of each source, at most."""
    by: dict[str, list[tuple[str, Path, str]]] = {}
    for pack in data:
        for name in open_source(pack).names():
            folder = name.split("/")[0]
            source = "held out" if folder in held else folder.split("-")[0]
            by.setdefault(source, []).append((hashlib.sha256(name.encode()).hexdigest(), pack, name))
    opened = {pack: open_source(pack) for pack in data}
    return {
        source: np.stack(
            [decode(opened[pack].read(name), name).pixels for _, pack, name in sorted(crops)[:count]]
        )
        for source, crops in sorted(by.items())
    }


def student_of(run: Path) -> tuple[FaceNet, Tensor]:
    """A run's last student, and the matrix [D, d] into its teachers' space."""
    recipe = read_recipe(run / "recipe.toml")
    network = build_model(recipe.student.name, **recipe.student.settings).eval()
    network.load_state_dict(load_weights(run, "last"))
    tensors = load_file(run / "checkpoints" / "last" / "task.safetensors")
    (projector,) = [tensor for key, tensor in tensors.items() if key.endswith("projector.weight")]
    return network, projector


def projected(network: FaceNet, projector: Tensor, crops: Crops) -> NDArray[np.float32]:
    """The unit embeddings of a student in its teachers' space, [N, D]."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(crops), 50):
            found = network(to_planes(crops[start : start + 50], network.input))
            rows.append(nn.functional.normalize(nn.functional.normalize(found) @ projector.T))
    return torch.cat(rows).numpy()


@click.command()
@click.argument("runs", nargs=-1, required=True, type=EXISTING)
@click.option("--data", multiple=True, required=True, type=EXISTING)
@click.option("--crops", "count", type=click.IntRange(1), default=250, show_default=True)
def main(runs: tuple[Path, ...], data: tuple[Path, ...], count: int) -> None:
    """Compare the students of RUNS with their teachers."""
    torch.set_num_threads(1)
    recipe = read_recipe(runs[0] / "recipe.toml")
    if recipe.teacher is None:
        raise click.UsageError(f"{runs[0]} had no teacher.")
    held = set(read_list(recipe.data.heldout)) if recipe.data.heldout else set()
    students = [student_of(run) for run in runs]
    teachers = [load_embedder(model, threads=1) for model in recipe.teacher.models]
    click.echo(f"| source | crops | {' | '.join(run.name for run in runs)} |")
    click.echo(f"| --- | --- |{' --- |' * len(runs)}")
    for source, crops in sampled(data, held, count).items():
        joined = np.concatenate([teacher.embed(crops) for teacher in teachers], axis=1)
        joined /= np.linalg.norm(joined, axis=1, keepdims=True)
        cells = [f"{(projected(*one, crops) * joined).sum(axis=1).mean():.3f}" for one in students]
        click.echo(f"| {source} | {len(crops)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    raise SystemExit(run(main))
