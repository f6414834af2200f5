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
import onnx

from facekd.card import read_card
from facekd.cli import run
from facekd.cli.options import EXISTING_FILE
from facekd.distillation import heldout_crops, read_recipe, training_crops
from facekd.errors import UsageError
from facekd.export import RANGE_CROPS, roundings, run_graph, some_of
from facekd.models import to_planes
from facekd.verification import all_pairs

_FMRS, _BATCH = (1e-3, 1e-4), 32


@click.command()
@click.argument("student", type=EXISTING_FILE)
@click.option("--data", type=EXISTING_FILE, required=True, help="The recipe of its run.")
def main(student: Path, data: Path) -> None:
    """Compare ways of rounding the weights of STUDENT."""
    card, network, recipe = read_card(student)[0], onnx.load(str(student)), read_recipe(data)
    people, trained = heldout_crops(recipe, "choose"), training_crops(recipe)
    if people is None:
        raise UsageError(f"{data}: nobody is held out to choose")
    planes = to_planes(some_of(trained, RANGE_CROPS), card.input).numpy()
    shown = to_planes(some_of(people, len(people)), card.input).numpy()
    before = run_graph(network, shown, _BATCH)

    def tell(how: str, model: onnx.ModelProto) -> None:
        rows = run_graph(model, shown, _BATCH)
        pairs = all_pairs(rows, people.labels)
        tars = " | ".join(f"{100 * float(pairs.tar_at(fmr)):.2f}" for fmr in _FMRS)
        click.echo(f"| {how} | {(rows * before).sum(axis=1).mean():.4f} | {tars} |")

    click.echo("| | cosine | TAR at FMR 1e-3 | 1e-4 |\n| --- | --- | --- | --- |")
    tell("float32", network)
    for how, model in roundings(network, planes):
        tell(how, model)


if __name__ == "__main__":
    raise SystemExit(run(main))
