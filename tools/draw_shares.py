"""Draw the share of each part of the loss in the gradient over a run.

    python tools/draw_shares.py runs/first shares.png

Reads the run's `metrics.jsonl`. The share of a part is the norm of its gradient in the student's
weights over the sum of these norms; norms do not add up like the gradients themselves, so this
shows how strong each part is, not how much it achieves.
"""

from __future__ import annotations

from pathlib import Path

import click
from matplotlib.figure import Figure

from facekd.cli import run
from facekd.errors import UsageError
from facekd.training import RunFolder


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("picture", type=click.Path(dir_okay=False, path_type=Path))
def main(run: Path, picture: Path) -> None:
    """Draw the gradient shares of RUN into PICTURE."""
    records = RunFolder.open(run).metrics()
    batch = next(r["images"] / r["step"] for r in records if "images" in r)
    shares = [(r["step"] * batch, r["gradient_share"]) for r in records if "gradient_share" in r]
    if not shares:
        raise UsageError(f"{run}: its loss has only one part")
    parts = list(dict.fromkeys(name for _, found in shares for name in found))
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    images = [seen / 1000 for seen, _ in shares]
    heights = [[100 * found.get(part, 0.0) for _, found in shares] for part in parts]
    axes.stackplot(images, heights, labels=parts, alpha=0.85)
    axes.set(xlabel="thousand images seen", ylabel="share of the gradient's norm, %")
    axes.set(xlim=(images[0], images[-1]), ylim=(0, 100))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(picture, dpi=150)
    click.echo(picture)


if __name__ == "__main__":
    raise SystemExit(run(main))
