"""Accuracy against the number of distinct faces, a line for each method.

    python tools/draw_faces.py runs/faces/table.json faces.png

Reads what `compare_methods.py --methods tools/faces.toml` wrote: methods named "METHOD, FACES". TAR at
FMR 1e-3 over all pairs, of LFW and of the held-out people, mean over the seeds; the bars are the 95 %
intervals over identities, which describe the variation between people.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from facekd.cli import run
from facekd.errors import UsageError

FMR = 1e-3


def tar_of(points: list[dict[str, Any]]) -> tuple[float, float, float]:
    """TAR in percent with its interval's ends, means over the seeds' operating points."""
    if any(point["tar"] is None or point["interval"] is None for point in points):
        raise UsageError(f"a run has no TAR at FMR {FMR:g} with an interval: too few comparisons")
    ends = [(p["tar"], p["interval"]["low"], p["interval"]["high"]) for p in points]
    tar, low, high = (100 * float(np.mean(column)) for column in zip(*ends, strict=True))
    return tar, low, high


def on_lfw(row: dict[str, Any]) -> list[dict[str, Any]]:
    everyone = (point for lfw in row["lfw"] for point in lfw["all_pairs"]["operating_points"])
    return [point for point in everyone if point["fmr"] == FMR]


@click.command()
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("picture", type=click.Path(dir_okay=False, path_type=Path))
def main(table: Path, picture: Path) -> None:
    """Draw the curves of TABLE into PICTURE."""
    rows = json.loads(table.read_text(encoding="utf-8"))
    lines: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for row in rows:
        method, _, faces = row["method"].partition(", ")
        if not faces.replace(",", "").isdigit():
            raise UsageError(f"{table}: method '{row['method']}' is not named 'METHOD, FACES'")
        lines[method].append((int(faces.replace(",", "")), row))
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = [("held-out people", lambda row: row["heldout"])]
    panels += [("LFW, all pairs", on_lfw)] if all(row["lfw"] for row in rows) else []
    for axes, (title, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for method, found in lines.items():
            faces = [count for count, _ in sorted(found, key=lambda pair: pair[0])]
            tars = np.array([tar_of(points(row)) for _, row in sorted(found, key=lambda pair: pair[0])])
            below_and_above = np.abs(tars[:, 1:] - tars[:, :1]).T
            axes.errorbar(faces, tars[:, 0], below_and_above, label=method, marker="o", ms=4, capsize=3)
        axes.set(xscale="log", xlabel="distinct faces", title=title)
        axes.set(ylabel=f"TAR at FMR {FMR:g}, %", ylim=(0, None))
        ticks = sorted({count for found in lines.values() for count, _ in found})
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{tick:,}" for tick in ticks])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(picture, dpi=150)
    click.echo(picture)


if __name__ == "__main__":
    raise SystemExit(run(main))
