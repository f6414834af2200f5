"""Draw photos of synthetic people, and check that they work as faces.

    python tools/draw_people.py people.zip --people 300 --photos 10
    python tools/draw_people.py --check --people 100 --photos 8 --model edgeface_xs.onnx

Drawing again with the same numbers on the same machine gives the same files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from facekd.cli import run
from facekd.cli.options import ANY_PATH, EXISTING_FILE, detector_option
from facekd.cli.output import progress, say
from facekd.errors import NoFace, TooSmall, UsageError
from facekd.preprocess import Detector, Face, Photo, cut, find_face
from facekd.preprocess.detectors import make_detector
from facekd.runtime import load_embedder
from facekd.samples import draw, draw_people, landmarks, person, person_seed
from facekd.verification import eer

#: the requirements on synthetic people
LEAST_FOUND, GREATEST_EER = 0.95, 0.15


@dataclass(frozen=True)
class Found:
    """A drawn photo with the face that the detector found in it (`None`: none, or elsewhere)."""

    who: int
    photo: Photo
    face: Face | None


@click.command(help=__doc__.splitlines()[0], context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", type=ANY_PATH, required=False)
@click.option("--people", default=30, show_default=True)
@click.option("--photos", default=8, show_default=True, help="Photos of each person.")
@click.option("--seed", default=0, show_default=True, help="Another seed draws another population.")
@click.option("--first", default=0, show_default=True, help="Number of the first person, from 0.")
@click.option("--size", default=200, show_default=True, help="Side of a photo in pixels.")
@click.option("--workers", type=int, help="Processes; one for each processor if not given.")
@click.option("--check", "checks", is_flag=True, help="Measure instead of writing TARGET.")
@click.option("--model", type=EXISTING_FILE, help="For --check: an embedding model to tell people apart.")
@click.option("--sheet", type=ANY_PATH, help="Write a contact sheet, a row for each person.")
@detector_option
def command(
    target: Path | None, people: int, photos: int, seed: int, first: int, size: int,
    workers: int | None, checks: bool, model: Path | None, sheet: Path | None, detector: str,
) -> int:  # fmt: skip
    if not (target or checks or sheet):
        raise UsageError("nothing to do", "Name a folder or zip to write, or give --check or --sheet.")
    numbers = range(first, first + people)
    if target:
        write(target, people, photos, seed, first, workers, size)
    if sheet:
        contact_sheet(sheet, [person_seed(seed, n) for n in numbers], photos, size)
    if checks:
        found = list(look(make_detector(detector), [person_seed(seed, n) for n in numbers], photos, size))
        return 0 if report(found, model, detector) else 1
    return 0


def write(
    target: Path, people: int, photos: int, seed: int, first: int, workers: int | None, size: int
) -> None:
    start = time.monotonic()
    with progress("drawing", people * photos) as advance:
        counts = draw_people(target, people, photos, seed, first, workers, advance, size)
    seconds = time.monotonic() - start
    click.echo(
        f"{counts.people} people, {counts.photos} photos, {counts.bytes / 1e6:.2f} MB, "
        f"{seconds:.1f} s ({1000 * seconds / counts.photos:.0f} s per 1,000 photos)"
    )


def contact_sheet(path: Path, seeds: list[int], photos: int, size: int) -> None:
    import cv2

    rows = [np.hstack([draw(person(seed), photo, size) for photo in range(photos)]) for seed in seeds]
    picture = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 85]):
        raise UsageError(f"{path}: cannot be written")


def look(detector: Detector, seeds: list[int], photos: int, size: int) -> Iterator[Found]:
    """Draw photos and detect the face; a face far from where it was drawn does not count."""
    for seed in seeds:
        who = person(seed)
        for number in range(photos):
            photo = Photo(f"{seed}/{number}", draw(who, number, size), "")
            try:
                face = find_face(photo, detector)
            except (NoFace, TooSmall):
                face = None
            if face is not None and landmark_error(face, landmarks(who, number, size)) > 0.5:
                face = None
            yield Found(seed, photo, face)


def landmark_error(face: Face, truth: np.ndarray) -> float:
    """Mean distance of the five landmarks from ``truth``, in distances between eyes and mouth."""
    scale = np.linalg.norm(truth[:2].mean(0) - truth[3:].mean(0))
    return float(np.linalg.norm(face.landmarks - truth, axis=1).mean() / scale)


def report(found: list[Found], model: Path | None, detector: str) -> bool:
    """Print the measurements; return whether they are good enough."""
    seen = [f for f in found if f.face is not None]
    share = len(seen) / len(found)
    click.echo(f"{detector}: face found in {len(seen)} of {len(found)} photos ({100 * share:.2f} %)")
    if model is None:
        say("no --model: whether the people can be told apart was not measured")
        return share >= LEAST_FOUND
    embedder = load_embedder(model, "cpu", None)
    crops = np.stack([cut(f.photo.pixels, f.face, embedder.spec) for f in seen if f.face is not None])
    mated, non_mated = comparisons(embedder.embed(crops), np.array([f.who for f in seen]))
    rate = eer(mated, non_mated)
    click.echo(
        f"{embedder.name}: equal error rate {100 * rate:.2f} % over {len(mated):,} mated and "
        f"{len(non_mated):,} non-mated comparisons "
        f"(mean cosine {mated.mean():.3f} and {non_mated.mean():.3f})"
    )
    return share >= LEAST_FOUND and rate < GREATEST_EER


def comparisons(embeddings: np.ndarray, who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs: of the same person, of different people."""
    one, other = np.triu_indices(len(who), 1)
    scores = (embeddings @ embeddings.T)[one, other]
    same = who[one] == who[other]
    return scores[same], scores[~same]


if __name__ == "__main__":
    raise SystemExit(run(command))
