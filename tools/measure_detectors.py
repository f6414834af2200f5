"""Measure the speed and the detection rate of each detector on a set of photos.

    python tools/measure_detectors.py lfw.zip --pairs lfw_pairs.txt --out packs \\
        --detector mtcnn --detector yunet:yunet_2023mar.onnx --detector scrfd:scrfd_500m.onnx

Aligns the photos that the pair list names (all without one) with every detector into a pack each
and prints a table: photos per second on all processors and on one, faces not found. Evaluate the packs with
`facekd evaluate --aligned` for the accuracy with each detector.

    python tools/measure_detectors.py lfw.zip --pairs lfw_pairs.txt --turned MODEL.onnx --detector mtcnn ...

measures the effect of photos turned in the plane instead: in the first mated pairs of the list the second
photo is turned, and the table shows how many pairs are called different people, even at the loosest
threshold in MODEL's card, and how many get no answer.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.cli.output import progress, say
from facekd.errors import CannotSay
from facekd.preprocess import decode, encode, find_faces, open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import threads_available
from facekd.workflows import AlignSettings, Recognizer, align_photos

Pixels = NDArray[np.uint8]

#: degrees in the plane, anticlockwise
TURNS = (0, 15, 30, 45, 60, 90, 180)

#: the number of photos for the speed on one processor
SPEED_SAMPLE = 200


def names_in_pairs(pairs: Path) -> set[str]:
    """Photo names, Name/Name_0001, of a pair list in the form LFW publishes."""
    names = set()
    for line in pairs.read_text().splitlines():
        match line.split():
            case [name, first, second]:
                names |= {f"{name}/{name}_{int(n):04d}" for n in (first, second)}
            case [name, first, other, second]:
                names |= {f"{name}/{name}_{int(first):04d}", f"{other}/{other}_{int(second):04d}"}
    return names


def write_subset(photos: Path, pairs: Path | None, file: Path) -> int:
    """A pack of the photos that ``pairs`` names; returns how many there are."""
    source = open_source(photos)
    wanted = names_in_pairs(pairs) if pairs else None
    names = [n for n in source.names() if wanted is None or n.rsplit(".", 1)[0] in wanted]
    with zipfile.ZipFile(file, "w") as pack:
        for name in names:
            pack.writestr(name, source.read(name))
    return len(names)


def milliseconds_on_one(detector: str, photos: Path) -> float:
    """Processor time to detect the faces of a photo, without decoding, on one thread."""
    source = open_source(photos)
    names = source.names()
    found = make_detector(detector, threads=1)
    sample = [decode(source.read(n), n) for n in names[:: max(1, len(names) // SPEED_SAMPLE)]]
    find_faces(sample[0], found)
    start = time.process_time()
    for photo in sample:
        find_faces(photo, found)
    return (time.process_time() - start) / len(sample) * 1000


def mated_pairs(pairs: Path, count: int) -> list[tuple[str, str]]:
    """The first ``count`` mated pairs of a list in the form LFW publishes, as photo names."""
    found = []
    for line in pairs.read_text().splitlines():
        match line.split():
            case [name, first, second]:
                found.append((f"{name}/{name}_{int(first):04d}", f"{name}/{name}_{int(second):04d}"))
    return found[:count]


def turned(pixels: Pixels, degrees: int) -> Pixels:
    """uint8 [H, W, 3] turned about its centre, uncropped, on black; quarter turns only move pixels."""
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(pixels, degrees // 90))
    import cv2

    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    across, down = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(width * across + height * down), round(width * down + height * across)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return np.asarray(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC), np.uint8)


def embedding_of(recognizer: Recognizer, pixels: Pixels, name: str) -> NDArray[np.float32] | None:
    """The embedding of the face in a photo; `None` if there is no answer."""
    try:
        return recognizer.recognise(encode(pixels, "png"), name).embedding
    except CannotSay:
        return None


def tell_turned(photos: Path, pairs: Path, count: int, model: Path, detectors: tuple[str, ...]) -> None:
    """Print, for every detector, the pairs called different people and those without an answer."""
    chosen, source = mated_pairs(pairs, count), open_source(photos)
    names = {name.rsplit(".", 1)[0]: name for name in source.names()}
    both = [[decode(source.read(names[one]), one).pixels for one in pair] for pair in chosen]
    click.echo("| detector | " + " | ".join(f"{degrees}°" for degrees in TURNS) + " |")
    click.echo("| --- |" + " --- |" * len(TURNS))
    for detector in detectors:
        recognizer = Recognizer(model, detector=detector, any_quality=True)
        limit = min(entry.threshold for entry in recognizer.embedder.card.calibration)
        upright = [embedding_of(recognizer, first, "first") for first, _ in both]
        cells = []
        for degrees in TURNS:
            found = [embedding_of(recognizer, turned(second, degrees), "second") for _, second in both]
            scores = [
                float(one @ two)
                for one, two in zip(upright, found, strict=True)
                if one is not None and two is not None
            ]
            cells.append(f"{sum(score < limit for score in scores)}, {len(both) - len(scores)}")
        click.echo(f"| {detector.partition(':')[0]} | {' | '.join(cells)} |")
    click.echo(f"called different people, no answer; of {len(both)} mated pairs, threshold {limit:.3f}")


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--pairs", type=click.Path(exists=True, path_type=Path), help="Pair list that names the photos."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the packs.")
@click.option("--detector", "detectors", multiple=True, required=True)
@click.option(
    "--turned", "model", type=click.Path(exists=True, path_type=Path), help="Measure turned photos."
)
@click.option("--count", type=click.IntRange(1), default=100, show_default=True, help="Pairs for --turned.")
def main(
    photos: Path,
    pairs: Path | None,
    out: Path | None,
    detectors: tuple[str, ...],
    model: Path | None,
    count: int,
) -> None:
    """Measure each --detector on PHOTOS."""
    if model is not None:
        if pairs is None:
            raise click.UsageError("--turned takes its photos from --pairs.")
        tell_turned(photos, pairs, count, model, detectors)
        return
    if out is None:
        raise click.UsageError("Name a folder for the packs with --out.")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subset = Path(folder) / "photos.zip"
        count = write_subset(photos, pairs, subset)
        say(f"{count} photos, {threads_available()} processors, load {os.getloadavg()[0]:.1f}")
        click.echo("| detector | photos/s, all processors | ms a photo, one thread | not found |")
        click.echo("| --- | --- | --- | --- |")
        for detector in detectors:
            pack = out / f"{detector.partition(':')[0]}.zip"
            start = time.perf_counter()
            done = align_photos([subset], pack, AlignSettings(detector), force=True, progress=progress)
            rate = done.photos / (time.perf_counter() - start)
            alone = milliseconds_on_one(detector, subset)
            missed = json.dumps(done.reasons) if done.reasons else "none"
            click.echo(f"| {detector} | {rate:.0f} | {alone:.1f} | {missed} |")


if __name__ == "__main__":
    raise SystemExit(run(main))
