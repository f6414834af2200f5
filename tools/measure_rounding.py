"""Measure what rounding the weights of a network costs, by how they are rounded.

    facekd export runs/first --out first.onnx
    python tools/measure_rounding.py first.onnx --data default.toml

STUDENT is a float32 export, and the recipe that of its run. Prints a row for the network as it is; with only
its weights in whole steps; and in int8: each with weights rounded to the nearest step and by the inputs of
their layer (`facekd.export.rounding`), as `facekd export --int8` does. Columns are the mean cosine between
its embeddings of the held-out people that choose and those of float32, and TAR on them. The last four rows
are for any processor.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import onnx

from facekd.card import Card, read_card
from facekd.cli import run
from facekd.cli.options import EXISTING_FILE
from facekd.distillation import heldout_crops, read_recipe, training_crops
from facekd.errors import UsageError
from facekd.export import RANGE_CROPS, roundings
from facekd.models import to_planes
from facekd.runtime import open_session, unit_rows
from facekd.training.data import CropSet
from facekd.verification import all_pairs

_FMRS, _BATCH = (1e-3, 1e-4), 32


def embeddings(model: onnx.ModelProto, card: Card, crops: CropSet) -> np.ndarray:
    """Unit rows [N, D] of ``crops``."""
    session = open_session(model.SerializeToString())
    rows = []
    for start in range(0, len(crops), _BATCH):
        some = np.stack([crops.read(i) for i in range(start, min(start + _BATCH, len(crops)))])
        rows.append(session.run(None, {"planes": to_planes(some, card.input).numpy()})[0])
    return unit_rows(np.concatenate(rows))


@click.command()
@click.argument("student", type=EXISTING_FILE)
@click.option("--data", type=EXISTING_FILE, required=True, help="The recipe of its run.")
def main(student: Path, data: Path) -> None:
    """Compare ways of rounding the weights of STUDENT."""
    card, network, recipe = read_card(student)[0], onnx.load(str(student)), read_recipe(data)
    people, trained = heldout_crops(recipe, "choose"), training_crops(recipe)
    if people is None:
        raise UsageError(f"{data}: nobody is held out to choose")
    chosen = np.unique(np.linspace(0, len(trained) - 1, RANGE_CROPS).astype(int))
    planes = to_planes(np.stack([trained.read(int(place)) for place in chosen]), card.input).numpy()
    before = embeddings(network, card, people)

    def tell(how: str, model: onnx.ModelProto) -> None:
        rows = embeddings(model, card, people)
        pairs = all_pairs(rows, people.labels)
        tars = " | ".join(f"{100 * float(pairs.tar_at(fmr)):.2f}" for fmr in _FMRS)
        click.echo(f"| {how} | {(rows * before).sum(axis=1).mean():.4f} | {tars} |")

    click.echo("| | cosine | TAR at FMR 1e-3 | 1e-4 |\n| --- | --- | --- | --- |")
    tell("float32", network)
    for how, model in roundings(network, planes):
        tell(how, model)


if __name__ == "__main__":
    raise SystemExit(run(main))
