"""Compare distillation with pruning and quantisation: one small network, made in several ways.

    python tools/compare_compression.py recipe.toml --large runs/large --images 128000 --out runs/compression

The recipe states the small network, the teacher and the schedule; ``--large`` is a run of a larger network of
the same family. Rows: the larger network; that network pruned to the small one's widths (`start_by =
"norms"`: structured, by the filters' absolute sums) without further training, fine-tuned on labels (ArcFace),
or distilled; and the small one distilled from a random start. All runs use ``--images`` views with one
schedule and seed; each is written in float32 and int8, evaluated by TAR on the held-out people that choose,
and timed side by side on one thread. A finished run is reused, and an interrupted one continues.

Prints a Markdown table and writes ``compression.json``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from safetensors.torch import save_file

from facekd.benchmark import Setting, count_model, time_models
from facekd.cli import run
from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE
from facekd.cli.output import progress, say
from facekd.distillation import Recipe, check_recipe, heldout_crops, read_recipe
from facekd.errors import FacekdError, UsageError
from facekd.export import export
from facekd.models import build_model, start_from
from facekd.runtime import load_embedder
from facekd.training import RunFolder, load_weights
from facekd.training.data import CropSet
from facekd.verification import all_pairs
from facekd.workflows import train_recipe

FMR = 1e-3
TIMED_CROPS = 8
_BATCH = 64


@dataclass(frozen=True)
class Row:
    """One network as a file: TAR at `FMR` in per cent with its 95 % interval, size in megabytes, milliseconds
    per crop (median), or why there is none."""

    way: str
    form: str
    images: int
    tar: float | None = None
    low: float | None = None
    high: float | None = None
    megabytes: float | None = None
    milliseconds: float | None = None
    refused: str | None = None

    def __str__(self) -> str:
        if self.refused:
            return f"| {self.way} | {self.form} | {self.images:,} | {self.refused} | | |"
        tar = f"{self.tar:.1f} [{self.low:.1f}, {self.high:.1f}]"
        size = f"{self.megabytes:.2f} | {self.milliseconds:.2f}"
        return f"| {self.way} | {self.form} | {self.images:,} | {tar} | {size} |"


def started(recipe: Recipe, large: Path | None, teacher: bool) -> Recipe:
    """``recipe`` started from the pruned ``large`` network, or at random; without a teacher, from labels."""
    raw = (recipe if teacher else recipe.without_teacher()).model_dump()
    if large is not None:
        raw["student"] |= {"start": large, "start_by": "norms"}
    return check_recipe(raw, "compression")


def finished(recipe: Recipe, folder: Path, threads: int) -> Path:
    """``folder`` with the finished run of ``recipe``."""
    begun = (folder / "checkpoints").is_dir()
    if begun and any(record.get("finished") for record in RunFolder.open(folder).metrics()):
        return folder
    train_recipe(recipe, folder, say, progress, resume=begun, threads=threads, workers=0)
    return folder


def pruned(recipe: Recipe, large: Path, beside: Path) -> Path:
    """The pruned network without training, as a weights file in the run folder ``beside`` of that network."""
    student = build_model(recipe.student.name, **recipe.student.settings)
    start_from(student, load_weights(large), "norms")
    file = beside / "pruned.safetensors"
    save_file({name: value.contiguous() for name, value in student.state_dict().items()}, file)
    return file


def judged(file: Path, crops: CropSet) -> tuple[float, float, float]:
    """TAR at `FMR` over all pairs of ``crops``, and its 95 % interval over identities, in per cent."""
    embedder = load_embedder(file, "cpu", 1)
    rows = [
        embedder.embed(np.stack([crops.read(i) for i in range(at, min(at + _BATCH, len(crops)))]))
        for at in range(0, len(crops), _BATCH)
    ]
    point = all_pairs(np.concatenate(rows), crops.labels).operating_point(FMR)
    if point.tar is None or point.interval is None:
        raise UsageError(f"the held-out people are too few for an FMR of {FMR:g}: {point.shortfall}")
    return 100 * point.tar, 100 * point.interval.low, 100 * point.interval.high


def exported(
    networks: dict[str, tuple[Path, int]], folder: Path, data: Path
) -> tuple[list[Row], dict[str, Path]]:
    """A row without figures for each network and form, and the files that could be written."""
    rows, files = [], {}
    for way, (network, images) in networks.items():
        for form in ("float32", "int8"):
            place = folder / f"{way.replace(' ', '-').replace(',', '')}-{form}.onnx"
            try:
                export(network, place, [data], int8=form == "int8")
            except FacekdError as error:
                rows.append(Row(way, form, images, refused=str(error).splitlines()[0]))
                continue
            rows.append(Row(way, form, images))
            files[f"{way}/{form}"] = place
    return rows, files


def measured(rows: list[Row], files: dict[str, Path], crops: CropSet) -> list[Row]:
    if not files:
        raise UsageError(f"no network could be written: {rows[0].refused}")
    some = np.stack([crops.read(i) for i in range(TIMED_CROPS)])
    times = time_models(files, dict.fromkeys(files, some), Setting(1, 1))
    found = []
    for row in rows:
        key = f"{row.way}/{row.form}"
        if key in files:
            tar, low, high = judged(files[key], crops)
            figures: dict[str, Any] = {
                "tar": tar, "low": low, "high": high, "megabytes": files[key].stat().st_size / 1e6,
                "milliseconds": 1e3 * times[key].median,
            }  # fmt: skip
            row = Row(row.way, row.form, row.images, **figures)
        found.append(row)
    return found


@click.command()
@click.argument("recipe", type=EXISTING_FILE)
@click.option("--large", type=EXISTING, required=True, help="Run folder of the larger network.")
@click.option("--images", type=click.IntRange(1), required=True, help="Views that every run uses.")
@click.option("--out", type=ANY_PATH, required=True, help="Folder for the runs.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def main(recipe: Path, large: Path, images: int, out: Path, threads: int) -> None:
    """Compare pruning, distillation and quantisation on RECIPE."""
    raw = read_recipe(recipe).model_dump()
    raw["schedule"]["images"] = images
    base = check_recipe(raw, str(recipe))
    crops = heldout_crops(base, "choose")
    if crops is None:
        raise UsageError(f"{recipe}: holds nobody out (data.heldout), so the rows cannot be evaluated")
    tuned = finished(started(base, large, teacher=False), out / "pruned-labels", threads)
    distilled = finished(started(base, large, teacher=True), out / "pruned-distilled", threads)
    scratch = finished(started(base, None, teacher=True), out / "distilled", threads)
    seen = int(RunFolder.open(large).state("best").get("images", 0))
    networks = {
        "the larger network": (large, seen),
        "pruned, left so": (pruned(base, large, distilled), 0),
        "pruned, fine-tuned on labels": (tuned, images),
        "pruned, distilled": (distilled, images),
        "distilled from a random start": (scratch, images),
    }
    rows, files = exported(networks, out, recipe)
    found = measured(rows, files, crops)
    work = {name: count_model(path).macs for name, path in files.items() if name.endswith("float32")}
    told = {"rows": [asdict(row) for row in found], "macs": work}
    (out / "compression.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    click.echo("| | form | images seen | held-out TAR at 1e-3 | MB | ms |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for row in found:
        click.echo(str(row))


if __name__ == "__main__":
    raise SystemExit(run(main))
