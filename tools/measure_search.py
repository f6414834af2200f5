"""Measure the time of a search, beside faiss and beside the limit of the memory.

    python tools/measure_search.py --people 10000 --people 100000
    python tools/measure_search.py --people 1000000 --rounds 2 --without int8 --without float16

People are synthetic and have one template of 512 each: drawn from a normal distribution whose standard
deviation falls along the axes as 1 / rank^0.32, so that two of them have a cosine of 0 +- 0.076, which is
about that of two photos of different people with a student of 512 values (0.075); probes are noisy copies
of some of them. Of 256 values, which other tools draw, it falls as 1 / rank^0.25: 0 +- 0.080, as with the
shipped student (0.080 among 1,117 people of LFW). Every way runs in turn in each round, on one thread, and
the lowest processor time counts, so that other programs disturb little.

"float32", "float16" and "int8" store the templates in that type and convert a block at a time to float32,
since numpy multiplies no smaller type fast. They do not compare again, as `SearchIndex` does and as they
would have to within the margin of their rounding. "read" is the sum of the squares of all: the least time to
read them from memory. faiss is measured if it is installed.
"""

from __future__ import annotations

import os

# before numpy is loaded
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.gallery import Contract, Everybody, GalleryRecords, SearchIndex, Template

Floats = NDArray[np.float32]

_DIM = 512
#: how fast the spread falls along the axes, for embeddings of so many values
FALLS = {512: 0.32, 256: 0.25}
#: probes at once
BATCHES = (1, 64)
_TOP = 5
#: templates that are converted to float32 at once
_BLOCK = 2048
CONTRACT = Contract("0" * 64, _DIM, "synthetic", "none", "none")


def drawn(count: int, seed: int = 0, values: int = _DIM) -> Floats:
    """Unit rows [count, values], made in place, since a million of 512 are 2 GB; ``values`` is one of
    `FALLS`."""
    spread = (np.arange(1, values + 1) ** -FALLS[values]).astype(np.float32)
    random, rows = np.random.default_rng(seed), np.empty((count, values), np.float32)
    for start in range(0, count, _BLOCK):
        some = rows[start : start + _BLOCK]
        random.standard_normal(out=some, dtype=np.float32)
        some *= spread
        some /= np.linalg.norm(some, axis=1, keepdims=True)
    return rows


class InMemory:
    """Records of people with one template each."""

    contract = CONTRACT

    def __init__(self, rows: Floats) -> None:
        self._all = Everybody(tuple(f"{n:07}" for n in range(len(rows))), np.ones(len(rows), np.int64), rows)

    def state(self) -> str | None:
        return "synthetic"

    def version(self) -> int:
        return 0

    def names(self) -> list[str]:
        return list(self._all.names)

    def everybody(self) -> Everybody:
        return self._all


def converted(kept: NDArray[np.generic]) -> Callable[[Floats], object]:
    """A search through templates that are converted to float32 block by block: the products alone, without
    the scale of int8 and without comparing again."""

    def search(probes: Floats) -> object:
        highest = np.full((len(probes), _TOP), -np.inf, np.float32)
        for start in range(0, len(kept), _BLOCK):
            scores = probes @ kept[start : start + _BLOCK].astype(np.float32, copy=False).T
            best = np.partition(scores, scores.shape[1] - _TOP, axis=1)[:, -_TOP:]
            highest = np.partition(np.hstack([highest, best]), _TOP, axis=1)[:, _TOP:]
        return highest

    return search


def eighth(rows: Floats) -> NDArray[np.int8]:
    """``rows`` as int8, on one scale, converted block by block to save memory."""
    steps = 127 / max(rows.max(), -rows.min())
    parts = (rows[start : start + _BLOCK] * steps for start in range(0, len(rows), _BLOCK))
    return np.concatenate([np.rint(part).astype(np.int8) for part in parts])


def ways(rows: Floats, without: tuple[str, ...]) -> dict[str, Callable[[Floats], object]]:
    # no photo is enrolled twice here, so the highest score with a template is that with its person, and the
    # rows need not be copied to be fused
    index = SearchIndex(InMemory(rows), "max")
    index.refresh()
    found: dict[str, Callable[[Floats], object]] = {"SearchIndex": lambda probes: index.search(probes, _TOP)}
    found["float32"] = converted(rows)
    if "float16" not in without:
        found["float16"] = converted(rows.astype(np.float16))
    if "int8" not in without:
        found["int8"] = converted(eighth(rows))
    if "faiss" not in without and importlib.util.find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(_DIM)
        flat.add(rows)
        found["faiss IndexFlatIP"] = lambda probes: flat.search(probes, _TOP)
    flat_rows = rows.ravel()
    found["read"] = lambda probes: flat_rows @ flat_rows
    return found


def recall(index: Callable[[Floats], object], rows: Floats, probes: Floats) -> str:
    """The number of probes with the same people, in order, as brute force in double precision."""
    same = 0
    for probe in probes:
        scores = np.concatenate(
            [
                rows[start : start + _BLOCK].astype(np.float64) @ probe.astype(np.float64)
                for start in range(0, len(rows), _BLOCK)
            ]
        ).astype(np.float32)
        expected = np.lexsort((np.arange(len(scores)), -scores))[:_TOP]
        names = index(probe[None]).names[0]  # type: ignore[attr-defined]
        same += [int(name) for name in names] == expected.tolist()
    return f"{same} of {len(probes)}"


def reading(rows: Floats) -> str:
    """The time to open a gallery's file, list it, and read it with and without the file beside it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.db"
        with GalleryRecords(path, CONTRACT, create=True) as records, records.transaction():
            for number, row in enumerate(rows):
                records.add(f"{number:07}", [Template(row, f"{number:064x}", 1.0)])
        told = []
        for what, action in (
            ("open", lambda records: None),
            ("people()", lambda records: records.people()),
            ("everybody()", lambda records: records.everybody()),
            ("first index", lambda records: SearchIndex.of(records).refresh()),
            ("next index", lambda records: SearchIndex.of(records).refresh()),
        ):
            started = time.process_time()
            with GalleryRecords(path, read_only=True) as records:
                action(records)
            told.append(f"{what} {time.process_time() - started:.3f} s")
    return ", ".join(told)


@click.command()
@click.option("--people", "sizes", type=click.IntRange(_TOP), multiple=True, default=(10_000, 100_000))
@click.option("--rounds", default=7, show_default=True)
@click.option("--without", multiple=True, help="A way not to measure, to save memory or time.")
@click.option("--files/--no-files", default=True, help="Measure reading a gallery's file too.")
def main(sizes: tuple[int, ...], rounds: int, without: tuple[str, ...], files: bool) -> None:
    """Measure searches among synthetic people."""
    for size in sizes:
        rows = drawn(size)
        random = np.random.default_rng(1)
        probes = rows[random.integers(size, size=max(BATCHES))] + 0.02 * drawn(max(BATCHES), 2)
        probes = probes + (random.normal(size=probes.shape) / np.sqrt(_DIM)).astype(np.float32)
        probes /= np.linalg.norm(probes, axis=1, keepdims=True)
        if files:
            click.echo(f"{size:,} people, a gallery's file: {reading(rows)}")
        tried = ways(rows, without)
        fastest = {(way, batch): np.inf for way in tried for batch in BATCHES}
        for _ in range(rounds):
            for batch in BATCHES:
                for way, search in tried.items():
                    started = time.process_time()
                    search(probes[:batch])
                    taken = 1000 * (time.process_time() - started)
                    fastest[way, batch] = min(fastest[way, batch], taken)
        found = recall(tried["SearchIndex"], rows, probes[:8])
        some = rows[:2000] @ rows[-2000:].T
        click.echo(
            f"{size:,} people; non-mated cosine {some.mean():.3f} +- {some.std():.3f}; "
            f"as brute force: {found}"
        )
        for way in tried:
            per_probe = ", ".join(
                f"{fastest[way, batch] / batch:.2f} ms ({batch} at once)" for batch in BATCHES
            )
            click.echo(f"  {way}: {per_probe} a probe")
        sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(run(main))
