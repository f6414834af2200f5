"""Draw one picture of what `make demo` made: photos, crops, teacher beside student, verification.

    python tools/draw_overview.py demo docs/figures/overview.png

Everything in it is read from the folder of a demonstration or measured with its models on its synthetic test
people. The comparisons shown are the median ones of the list of pairs, at the strictest
threshold of the student's card that more than half of the mated pairs reach.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from PIL import Image

from facekd.benchmark import count_model
from facekd.card import read_card
from facekd.cli import run
from facekd.errors import UsageError
from facekd.files import write_atomically
from facekd.preprocess import decode, open_source
from facekd.runtime import load_embedder
from facekd.verification import HIGHEST_FMR, all_pairs

INK, GOOD, BAD = "#1d2530", "#00805a", "#d55e00"
TITLES = {"teacher": "teacher", "student": "student", "baseline": "the same without a teacher"}
MODELS = tuple(TITLES)
SHOWN = 4


@dataclass(frozen=True)
class Comparison:
    first: str
    second: str
    mated: bool
    score: float


@dataclass(frozen=True)
class Demonstration:
    """The result of a demonstration in ``folder``: crops by name and their embeddings by each model."""

    folder: Path
    crops: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]

    @classmethod
    def read(cls, folder: Path) -> Demonstration:
        source = open_source(folder / "test-crops.zip")
        crops = {name: decode(source.read(name)).pixels for name in source.names()}
        pixels = np.stack(list(crops.values()))
        return cls(
            folder, crops, {name: load_embedder(model_of(folder, name)).embed(pixels) for name in MODELS}
        )

    def comparisons(self) -> list[Comparison]:
        """The listed pairs with the student's scores."""
        place = {name: n for n, name in enumerate(self.crops)}
        rows = self.rows["student"]
        with (self.folder / "pairs.csv").open(encoding="utf-8", newline="") as file:
            return [
                Comparison(a := line["path1"], b := line["path2"], line["label"] == "1",
                           float(rows[place[a]] @ rows[place[b]]))
                for line in csv.DictReader(file)
            ]  # fmt: skip


def model_of(folder: Path, name: str) -> Path:
    return folder / "runs" / name / "student.onnx"


def median(comparisons: Sequence[Comparison], mated: bool) -> Comparison:
    """The comparison in the middle of its kind, by score."""
    kind = sorted((c for c in comparisons if c.mated == mated), key=lambda c: c.score)
    return kind[len(kind) // 2]


def threshold_of(model: Path, mated_score: float) -> tuple[float, float]:
    """FMR and threshold of the strictest calibration that ``mated_score`` reaches."""
    card, _ = read_card(model, need_card=True)
    reached = [(c.fmr, c.threshold) for c in card.calibration if c.threshold <= mated_score]
    if not reached:
        raise UsageError(f"{model}: its card has no threshold that half of the mated pairs reach")
    return min(reached)


def draw_photos(part: SubFigure, folder: Path) -> list[str]:
    """The first photo of some test people with the face that was found; the names of their crops."""
    report = (folder / "test-crops.zip.report.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    first = {line["photo"].split("/")[0]: line for line in reversed([json.loads(line) for line in report])}
    shown = [first[person] for person in sorted(first) if first[person]["faces"]][:SHOWN]
    for axes, line in zip(part.subplots(2, 2).flat, shown, strict=True):
        face = line["faces"][0]
        left, top, right, bottom = face["box"]
        axes.imshow(decode(folder / "photos" / "test" / line["photo"]).pixels)
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec="#5dff9b", lw=1.5))
        axes.plot(*np.transpose(face["landmarks"]), ".", color="#5dff9b", ms=4)
        axes.set_axis_off()
    return [line["faces"][0]["crop"] for line in shown]


def draw_crops(part: SubFigure, demo: Demonstration, names: Sequence[str]) -> None:
    for axes, name in zip(part.subplots(2, 2).flat, names, strict=True):
        axes.imshow(demo.crops[name])
        axes.set_axis_off()


def draw_models(part: SubFigure, demo: Demonstration) -> None:
    """TAR over FMR of the three models over all pairs of the test people; sizes in the legend."""
    people = [name.split("/")[0] for name in demo.crops]
    fmrs = np.geomspace(1e-4, HIGHEST_FMR, 60)
    axes = part.subplots()
    for name, dashes, colour in zip(MODELS, ("-", "--", ":"), ("#0072b2", "#d55e00", "#555555"), strict=True):
        size = count_model(model_of(demo.folder, name)).parameters / 1e6
        scored = all_pairs(demo.rows[name], people)
        label = f"{TITLES[name]}, {size:.1f} M weights"
        axes.plot(fmrs, [100 * scored.tar_at(fmr) for fmr in fmrs], dashes, color=colour, label=label)
    axes.set(xscale="log", xlabel="FMR", ylabel="TAR, %", ylim=(0, 100))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", fontsize=9)


def draw_decision(part: SubFigure, demo: Demonstration, shown: Comparison, threshold: float) -> None:
    same = shown.score >= threshold
    for axes, name in zip(part.subplots(1, 2), (shown.first, shown.second), strict=True):
        axes.imshow(demo.crops[name])
        axes.set_axis_off()
    told = (
        f"{shown.score:.2f} {'≥' if same else '<'} {threshold:.2f}: {'same' if same else 'different'} person"
    )
    part.supxlabel(told, fontsize=10, weight="bold", color=GOOD if same else BAD)


def draw(demo: Demonstration) -> Figure:
    figure = Figure(figsize=(12, 3.2), dpi=130, layout="constrained")
    parts: Any = figure.subfigures(1, 4, width_ratios=(1, 1, 1.55, 1), wspace=0.03)
    photos, crops, models, decisions = parts
    draw_crops(crops, demo, draw_photos(photos, demo.folder))
    draw_models(models, demo)
    listed = demo.comparisons()
    mated, non_mated = median(listed, True), median(listed, False)
    fmr, threshold = threshold_of(model_of(demo.folder, "student"), mated.score)
    for half, shown in zip(decisions.subfigures(2, 1), (mated, non_mated), strict=True):
        draw_decision(half, demo, shown, threshold)
    titles = ("1  find faces", "2  align", "3  distil and evaluate", f"4  verify at FMR {fmr:g}")
    for part, title in zip(parts, titles, strict=True):
        part.suptitle(title, fontsize=12, weight="bold", color=INK)
    return figure


def as_png(figure: Figure) -> bytes:
    """A picture of 256 colours: photos in a plain PNG take three times as much."""
    plain, small = io.BytesIO(), io.BytesIO()
    figure.savefig(plain, format="png")
    Image.open(plain).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(
        small, format="PNG", optimize=True
    )
    return small.getvalue()


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("picture", type=click.Path(dir_okay=False, path_type=Path))
def main(folder: Path, picture: Path) -> None:
    """Draw the demonstration in FOLDER into PICTURE."""
    write_atomically(picture, as_png(draw(Demonstration.read(folder))))
    click.echo(str(picture))


if __name__ == "__main__":
    raise SystemExit(run(main))
