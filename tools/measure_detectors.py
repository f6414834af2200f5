"""How fast and how completely each detector finds the faces of a set of photos.

    python tools/measure_detectors.py lfw.zip --pairs lfw_pairs.txt --out packs \\
        --detector mtcnn --detector yunet:yunet_2023mar.onnx --detector scrfd:scrfd_500m.onnx

Aligns the photos that the pair list names (all without one) with every detector into a pack each
and prints a table: photos a second over all processors and over one, faces not found. The packs
serve `facekd evaluate --aligned` for the accuracy through each detector.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from pathlib import Path

import click

from facekd.cli.output import progress, say
from facekd.preprocess import decode, find_faces, open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import threads_available
from facekd.workflows import AlignSettings, align_photos

#: photos that the speed on one processor is taken from
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
    """Processor time to find the faces of a photo, decoding left out, on one thread."""
    source = open_source(photos)
    names = source.names()
    found = make_detector(detector, threads=1)
    sample = [decode(source.read(n), n) for n in names[:: max(1, len(names) // SPEED_SAMPLE)]]
    find_faces(sample[0], found)
    start = time.process_time()
    for photo in sample:
        find_faces(photo, found)
    return (time.process_time() - start) / len(sample) * 1000


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--pairs", type=click.Path(exists=True, path_type=Path), help="Pair list that names the photos."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the packs.")
@click.option("--detector", "detectors", multiple=True, required=True)
def main(photos: Path, pairs: Path | None, out: Path, detectors: tuple[str, ...]) -> None:
    """Measure each --detector on PHOTOS."""
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
    main()
