"""Draw the pictures of docs/numbers.md from simulated embeddings and synthetic people.

    python tools/draw_numbers.py docs/figures --model student.onnx

300 people with six photos each are points around a centre; some people vary more than others. The
photos of the "large" model vary less than those of the "small" one. The hardest pairs are
those of synthetic people for --model; without it that picture is left out.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from facekd.cli import run
from facekd.cli.options import EXISTING_FILE
from facekd.cli.output import say
from facekd.preprocess import Face, cut
from facekd.reporting import drawings, hardest_figure
from facekd.runtime import load_embedder
from facekd.samples import draw, landmarks, person, person_seed
from facekd.verification import hardest_of_all, judge_people, open_point, rank_points, search
from facekd.verification.results import AllPairsResult, IdentificationResult, ShownPair

PEOPLE, PHOTOS = 300, 6
#: the dimension of an embedding, and the spread of a person's photos in each dimension
MODELS = {"large": (96, 0.075), "small": (56, 0.11)}
DRAWN_PEOPLE, DRAWN_PHOTOS = 24, 4
FPIRS = (1e-1,)


@click.command(help=__doc__.splitlines()[0], context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--model", type=EXISTING_FILE, help="ONNX model for the hardest pairs.")
def command(folder: Path, model: Path | None) -> None:
    rows = {name: embeddings(*made) for name, made in MODELS.items()}
    for drawing in (*drawings(everyone(rows)), *drawings(searches(rows))):
        if drawing.name != "scores of large":  # one histogram is enough
            file = drawing.name.removesuffix(" of small").replace(" ", "-")
            drawing.figure().savefig(folder / f"numbers-{file}.png")
    if model:
        hardest_figure(hardest(model)).savefig(folder / "numbers-hardest.png", dpi=80)
    say(f"pictures written to {folder}")


def embeddings(dim: int, spread: float) -> np.ndarray:
    """Unit rows [PEOPLE * PHOTOS, dim]; photos of a person follow each other."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(PEOPLE, 1, dim))
    centres /= np.linalg.norm(centres, axis=2, keepdims=True)
    harder = random.lognormal(0, 0.25, (PEOPLE, 1, 1))
    rows = centres + spread * harder * random.normal(size=(PEOPLE, PHOTOS, dim))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return rows.reshape(-1, dim).astype(np.float32)


def everyone(models: dict[str, np.ndarray]) -> dict[str, AllPairsResult]:
    names = np.repeat([f"P{n}" for n in range(PEOPLE)], PHOTOS).tolist()
    return {
        name: judge_people("people", "simulated", rows, names, len(rows), ()) for name, rows in models.items()
    }


def searches(models: dict[str, np.ndarray]) -> dict[str, IdentificationResult]:
    """The first photo of two people in three is enrolled, the others are probes; the last third is
    unknown."""
    found, enrolled = {}, PEOPLE * 2 // 3
    people = [f"P{n}" for n in range(enrolled)]
    for name, rows in models.items():
        photos = rows.reshape(PEOPLE, PHOTOS, -1)
        probes, unknown = np.concatenate(photos[:enrolled, 1:]), np.concatenate(photos[enrolled:])
        made = search(photos[:enrolled, 0], people, probes, np.repeat(people, PHOTOS - 1).tolist(), unknown)
        found[name] = IdentificationResult(
            "identification", "simulated", len(rows), enrolled, (), 0, (), made, rank_points(made),
            tuple(open_point(made, fpir) for fpir in FPIRS),
        )  # fmt: skip
    return found


def hardest(model: Path) -> list[ShownPair]:
    """The hardest pairs of synthetic people for ``model``, cut by the true landmarks."""
    embedder = load_embedder(model)
    crops, who, names = [], [], []
    for number in range(DRAWN_PEOPLE):
        drawn = person(person_seed(0, number))
        for photo in range(DRAWN_PHOTOS):
            marks = landmarks(drawn, photo).astype(np.float32)
            box = np.concatenate([marks.min(axis=0), marks.max(axis=0)])
            crops.append(cut(draw(drawn, photo), Face(box, 1.0, marks), embedder.spec))
            who.append(f"{number:02d}")
            names.append(f"{number:02d}/{photo}")
    face = dict(zip(names, crops, strict=True))
    pairs = hardest_of_all(embedder.embed(np.stack(crops)), who, names, 3)
    return [ShownPair(pair, (face[pair.first], face[pair.second])) for pair in pairs]


if __name__ == "__main__":
    raise SystemExit(run(command))
