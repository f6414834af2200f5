"""Measure the false match rate of claims, by the number of enrolled photos and the way of fusing them.

    python tools/measure_claims.py recipe.toml edgeface_xs.onnx

The threshold is calibrated on single comparisons (all pairs of the recipe's held-out people that
are kept for calibration); then some photos of every person are enrolled, all others are probes of
the same people, and every probe is claimed to be everybody. Prints FMR and TAR at that threshold for
the best score, the mean score and the direction of the mean (used by `facekd verify --claim`),
each as the mean over random choices of the enrolled photos.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.distillation import heldout_crops, read_recipe
from facekd.errors import UsageError
from facekd.runtime import fuse, load_embedder
from facekd.verification import all_pairs

Floats = NDArray[np.float32]

#: scores [probes] of probes [N, D] against one person's enrolled embeddings [K, D]
WAYS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "best score": lambda probes, enrolled: (probes @ enrolled.T).max(axis=1),
    "mean of scores": lambda probes, enrolled: (probes @ enrolled.T).mean(axis=1),
    "direction of the mean": lambda probes, enrolled: probes @ fuse(list(enrolled)),
}


def claims(
    rows: Floats, labels: NDArray[np.int64], photos: int, rng: np.random.Generator
) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """Scores [probes, people] of every claim in every way, and which of them are mated."""
    people = [p for p in np.unique(labels) if (labels == p).sum() > photos]
    enrolled = [rng.choice(np.flatnonzero(labels == p), photos, replace=False) for p in people]
    probe = np.ones(len(rows), bool)
    probe[np.concatenate(enrolled)] = False
    genuine = labels[probe][:, None] == np.array(people)[None, :]
    scores = {name: np.stack([way(rows[probe], rows[e]) for e in enrolled], 1) for name, way in WAYS.items()}
    return scores, genuine


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--fmr", "rates", type=float, multiple=True, default=(1e-3, 1e-4), show_default=True)
@click.option("--photos", "counts", type=click.IntRange(1), multiple=True, default=(1, 3, 5))
@click.option("--choices", default=5, show_default=True, help="Random choices of the enrolled photos.")
def main(recipe: Path, model: Path, rates: tuple[float, ...], counts: tuple[int, ...], choices: int) -> None:
    """Measure claims with MODEL on the held-out people of RECIPE."""
    held = heldout_crops(read_recipe(recipe), "calibrate")
    if held is None:
        raise UsageError("this recipe has no held-out people")
    embedder = load_embedder(model)
    parts = [range(i, min(i + 256, len(held))) for i in range(0, len(held), 256)]
    rows = np.concatenate([embedder.embed(np.stack([held.read(i) for i in part])) for part in parts])
    thresholds = [all_pairs(rows, held.labels).threshold_at(rate) for rate in rates]
    click.echo(f"{embedder.name}, {len(rows)} crops of {len(held.people)} people, {choices} choices")
    titles = " | ".join(f"FMR at the threshold for {rate:g} | TAR" for rate in rates)
    click.echo(f"| photos enrolled, way of fusing | {titles} |")
    click.echo("| --- |" + " --- | --- |" * len(rates))
    for count in counts:
        rng = np.random.default_rng(count)
        drawn = [claims(rows, held.labels, count, rng) for _ in range(choices)]
        for way in WAYS if count > 1 else list(WAYS)[:1]:
            cells = []
            for threshold in thresholds:
                fmr = np.mean([(s[way][~g] >= threshold).mean() for s, g in drawn])
                tar = np.mean([(s[way][g] >= threshold).mean() for s, g in drawn])
                cells += [f"{fmr:.1e}", f"{tar:.1%}"]
            name = f"{count}, {way}" if count > 1 else "1"
            click.echo(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    raise SystemExit(run(main))
