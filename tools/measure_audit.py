"""Measure the cost of auditing claims and searches.

    python tools/measure_audit.py PHOTOS

The photos of PHOTOS, a folder or pack, are enrolled, each as a different person. Then a photo is verified
against a claim, and searched for, alternately with and without the audit, so that other load on the machine
affects both alike. Each opens the gallery anew, as a command or a request to the service does; the model is
loaded once, on one thread. Also measured are the size of an entry, and the time to delete old ones.
"""

from __future__ import annotations

import os

# before numpy is loaded
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from facekd.cli import run
from facekd.errors import CannotSay, InputOutput
from facekd.gallery import GalleryRecords, ReadEntry, Template, moment
from facekd.preprocess import open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import load_embedder
from facekd.weights import shipped_model
from facekd.workflows import Recognizer, identify_photo, open_search, verify_claim

_PEOPLE, _ENTRIES, _AT_ONCE = 100, 1_000_000, 10_000
_THEN = "2024-01-01T00:00:00+00:00"


def enroll(gallery: Path, recognizer: Recognizer, photos: Path) -> bytes:
    """Enroll the first photos in which a face is found; return one of them."""
    source, done, content = open_source(photos), 0, b""
    with GalleryRecords(gallery, recognizer.contract, create=True) as records, records.transaction():
        for name in source.names():
            with suppress(CannotSay, InputOutput):
                content = source.read(name)
                found = recognizer.recognise(content, name)
                records.add(f"person {done}", [Template(found.embedding, found.sha256, found.quality)])
                done += 1
            if done == _PEOPLE:
                return content
    raise click.UsageError(f"{photos}: {done} usable photos, {_PEOPLE} are needed")


def milliseconds(ask: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of processor time, and of wall clock time."""
    began, began_work = time.perf_counter(), time.process_time()
    ask()
    return (time.process_time() - began_work) * 1000, (time.perf_counter() - began) * 1000


def compared(asks: dict[str, Callable[[bool], object]], rounds: int) -> dict[str, dict[str, float]]:
    """The medians of each of ``asks`` without and with the audit, and of the difference in each round."""
    found = {}
    for name, ask in asks.items():
        taken = np.empty((rounds, 2, 2))
        for number in range(rounds):
            for audited in ((False, True), (True, False))[number % 2]:
                taken[number, int(audited)] = milliseconds(partial(ask, audited))
        adds = taken[:, 1] - taken[:, 0]
        low, high = np.quantile(adds[:, 0], (0.05, 0.95))
        (plain, plain_wall), (audited_ms, audited_wall) = np.median(taken, axis=0)
        found[name] = {
            "plain_ms": float(plain), "audited_ms": float(audited_ms),
            "adds_ms": float(np.median(adds[:, 0])), "adds_p5_ms": float(low), "adds_p95_ms": float(high),
            "plain_wall_ms": float(plain_wall), "audited_wall_ms": float(audited_wall),
            "adds_wall_ms": float(np.median(adds[:, 1])),
        }  # fmt: skip
    return found


def rotation(gallery: Path, entry: ReadEntry, count: int) -> dict[str, float]:
    """The size of ``count`` entries in bytes, and the time to delete them."""
    with GalleryRecords(gallery, audit_reads=True) as records:
        before = records.statistics().bytes
        for _ in range(0, count, _AT_ONCE):
            records.note_reads([entry] * _AT_ONCE)
        size = records.statistics().bytes - before

        def prune() -> None:
            with records.transaction():
                records.prune_audit(moment("2024-06-01"), reads_only=True)

        work, wall = milliseconds(prune)
    return {"entries": count, "entry_bytes": size / count, "prune_ms": work, "prune_wall_ms": wall}


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", type=click.IntRange(2, 10_000), default=100, show_default=True)
@click.option("--entries", type=click.IntRange(_AT_ONCE), default=_ENTRIES, show_default=True)
def main(photos: Path, rounds: int, entries: int) -> None:
    """Measure with the photos in PHOTOS, a folder or pack, and print the result as JSON."""
    model = shipped_model()
    if model is None:
        raise click.UsageError("no student came with this facekd")
    recognizer = Recognizer(
        load_embedder(model, threads=1, need_card=True), detector=make_detector("mtcnn", threads=1)
    )
    with TemporaryDirectory(dir=".") as folder:
        gallery = Path(folder) / "gallery.db"
        photo = enroll(gallery, recognizer, photos)

        def claim(audited: bool) -> object:
            with recognizer.open_gallery(gallery, audit_reads=audited) as records:
                return verify_claim(recognizer, records, "person 1", photo, recognizer.threshold)

        def search(audited: bool) -> object:
            with recognizer.open_gallery(gallery, audit_reads=audited) as records:
                return identify_photo(open_search(recognizer, records), photo)

        for audited in (False, True):  # warm up: loads what is loaded once
            claim(audited), search(audited)
        found = compared({"claim": claim, "search": search}, rounds)
        entry = ReadEntry("search", 1, "found", recognizer.embedder.name, "a" * 12, fpir=0.01, date=_THEN)
        kept = rotation(gallery, entry, entries)
    click.echo(json.dumps({"rounds": rounds, "people": _PEOPLE, **found, "rotation": kept}, indent=2))


if __name__ == "__main__":
    raise SystemExit(run(main))
