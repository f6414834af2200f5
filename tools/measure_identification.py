"""Measure the figures of docs/identify.md with one model, except for the speed of a search.

    facekd align lfw.zip lfw-crops.zip
    python tools/measure_identification.py student.onnx lfw-crops.zip --packs DATA --out figures/

DATA holds the packs train-unlabelled-1.zip and -2.zip, whose folder "athletes" is a group of similar people.
Runs the tools below in turn, each with one thread, and writes what each prints into a file of --out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE

TOOLS = Path(__file__).parent
#: people in the galleries of athletes, and in those whose thresholds are compared with the card's
SMALL, MIDDLE = (10, 40, 60, 100, 600, 1000), (300, 1000)


def measurements(packs: Path) -> dict[str, list[str]]:
    """The arguments of each measurement beside model and crops, by the name of its file."""
    first, second = (f"{packs / f'train-unlabelled-{number}.zip'}:athletes" for number in (1, 2))
    athletes = ["--more", first, "--more", second]
    small, middle = ([o for size in sizes for o in ("--size", str(size))] for sizes in (SMALL, MIDDLE))
    return {
        "rules": ["measure_matching_rules.py"],
        "one": ["measure_search_rates.py"],
        "three": ["measure_search_rates.py", "--photos", "3"],
        "athletes": ["measure_search_rates.py", *athletes, "--only", *small],
        "mixed": ["measure_search_rates.py", *athletes, "--size", "6000", "--galleries", "6"],
        "thresholds": [
            "measure_gallery_thresholds.py", "--group", first, *middle, "--galleries", "40",
        ],
    }  # fmt: skip


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("crops", type=EXISTING_FILE)
@click.option("--packs", type=EXISTING, required=True, help="Folder of the packs of other people.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option("--only", multiple=True, help="A measurement to run; by default all.")
def main(model: Path, crops: Path, packs: Path, out: Path, only: tuple[str, ...]) -> None:
    """Measure identification by MODEL on CROPS of LFW."""
    out.mkdir(parents=True, exist_ok=True)
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name, (tool, *rest) in measurements(packs).items():
        if only and name not in only:
            continue
        command = [sys.executable, str(TOOLS / tool), str(model), str(crops), "--aligned", *rest]
        ran = subprocess.run(command, env=one_thread, stdout=subprocess.PIPE, text=True, check=True)
        (out / f"{name}.txt").write_text(ran.stdout)
        click.echo(f"{name}:\n{ran.stdout}")


if __name__ == "__main__":
    raise SystemExit(run(main))
