"""Measure whether a service would gain from embedding the photos of waiting requests in one batch.

    python tools/measure_batching.py PHOTOS

The crops of the photos in PHOTOS go through the model one by one and several at a time, on one thread. The
sizes alternate within each round, so that other load on the machine affects all of them alike. Also measured
is the time for a whole photo, from decoding to its embedding: batches could only make the model's part of
that faster.
"""

from __future__ import annotations

import os

# before numpy is loaded
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import json
import time
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.errors import CannotSay, InputOutput
from facekd.preprocess import as_photo, choose, cut, find_faces, open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import Embedder, load_embedder
from facekd.weights import shipped_model

Crops = NDArray[np.uint8]
SIZES = (1, 2, 4, 8, 16)
#: crops, a multiple of every size
_CROPS = 64


def crops_of(place: Path, embedder: Embedder) -> tuple[Crops, list[float]]:
    """The crops of the first photos of a folder or pack in which a face is found, and the milliseconds of
    processor time that each took from its bytes to its embedding."""
    source, detector = open_source(place), make_detector("mtcnn", threads=1)
    crops, taken = list[Crops](), list[float]()
    for name in source.names():
        content, began = source.read(name), time.process_time()
        with suppress(CannotSay, InputOutput):
            photo = as_photo(content, name)
            face = choose(find_faces(photo, detector), photo.pixels.shape[:2], "best")[0]
            crops.append(cut(photo.pixels, face, embedder.spec))
            embedder.embed(crops[-1][None])
            taken.append((time.process_time() - began) * 1000)
        if len(crops) == _CROPS:
            return np.stack(crops), taken
    raise click.UsageError(f"{place}: {len(crops)} usable photos, {_CROPS} are needed")


def milliseconds(embedder: Embedder, crops: Crops, size: int) -> float:
    """Processor time of each crop, ``size`` embedded at a time."""
    began = time.process_time()
    for start in range(0, len(crops), size):
        embedder.embed(crops[start : start + size])
    return (time.process_time() - began) * 1000 / len(crops)


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option("--model", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--rounds", type=click.IntRange(2, 10_000), default=100, show_default=True)
def main(photos: Path, model: Path | None, rounds: int) -> None:
    """Measure batches of the photos in PHOTOS, a folder or pack, and print the result as JSON."""
    model = model or shipped_model()
    if model is None:
        raise click.UsageError("no model is named, and no student came with this facekd")
    embedder = load_embedder(model, threads=1)
    crops, whole = crops_of(photos, embedder)
    for size in SIZES:
        milliseconds(embedder, crops, size)  # warm up: allocates memory
    turns = np.random.default_rng(0).permuted(np.tile(SIZES, (rounds, 1)), axis=1)
    times = np.empty((rounds, len(SIZES)))
    for taken, turn in zip(times, turns, strict=True):
        for size in turn:
            taken[SIZES.index(int(size))] = milliseconds(embedder, crops, int(size))
    # within each round, since its sizes ran under the same load
    faster, (photo_ms, crop_ms) = times[:, :1] / times, (float(np.median(whole)), np.median(times, axis=0))
    found = {
        "model": embedder.name,
        "rounds": rounds,
        "crops_a_round": _CROPS,
        "photo_ms": photo_ms,
        "batches": [
            {
                "size": size,
                "crop_ms": float(crop_ms[at]),
                "saves_of_photo": float(crop_ms[0] - crop_ms[at]) / photo_ms,
                "times_as_fast": dict(
                    zip(("median", "p5", "p95"), np.quantile(faster[:, at], (0.5, 0.05, 0.95)), strict=True)
                ),
            }
            for at, size in enumerate(SIZES)
        ],
    }
    click.echo(json.dumps(found, indent=2))


if __name__ == "__main__":
    raise SystemExit(run(main))
