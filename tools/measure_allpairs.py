"""Measure the cost of all pairs: seconds and memory from embeddings to rates, by the number of photos.

    python tools/measure_allpairs.py --photos 7701 --photos 20000 --photos 50000

Draws embeddings of 512 numbers, for people with as few photos as in LFW's View 2 (1.8 on
average, 14 at most), and prints the comparisons, the seconds of `all_pairs`, those of the TARs at
FMR 1e-3 and 1e-2 with their intervals and of the whole curve, and the peak memory of the process so
far (including interpreter and embeddings). The threads are those of the linear algebra library: set
OMP_NUM_THREADS.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TypeVar

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.verification import AllPairs, all_pairs

DIM = 512
MOST_PHOTOS = 14

Made = TypeVar("Made")


def draw(photos: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embeddings [photos, 512] and their people [photos]."""
    random = np.random.default_rng(0)
    # probabilities fall with the 2.1th power of the number of photos: 1.8 photos on average
    chances = np.arange(1, MOST_PHOTOS + 1) ** -2.1
    sizes = random.choice(np.arange(1, MOST_PHOTOS + 1), size=photos, p=chances / chances.sum())
    people = np.repeat(np.arange(photos), sizes)[:photos]
    rows = random.standard_normal((photos, DIM), dtype=np.float32)
    rows *= 2  # so that mated scores are about 0.2, and the TAR below 1
    rows += random.standard_normal((int(people[-1]) + 1, DIM), dtype=np.float32)[people]
    return rows, people


def timed(make: Callable[[], Made]) -> tuple[Made, float]:
    started = time.perf_counter()
    made = make()
    return made, time.perf_counter() - started


@click.command()
@click.option("--photos", type=click.IntRange(100), multiple=True, default=[7701], show_default=True)
def main(photos: tuple[int, ...]) -> None:
    """Measure all pairs of drawn embeddings."""
    heads = (
        "photos", "people", "mated", "non-mated", "all pairs, s", "TAR@1e-3, s", "TAR@1e-2, s", "curve, s",
        "peak MiB",
    )  # fmt: skip
    click.echo(f"| {' | '.join(heads)} |")
    click.echo(f"|{' --- |' * len(heads)}")
    for count in sorted(photos):
        rows, people = draw(count)
        pairs, seconds = timed(lambda: all_pairs(rows, people))  # noqa: B023 called before the next turn
        click.echo(f"| {count:,} | {people[-1] + 1:,} | {_told(pairs, seconds)} |")
        del pairs


def _told(pairs: AllPairs, seconds: float) -> str:
    points = [timed(lambda: pairs.operating_point(fmr))[1] for fmr in (1e-3, 1e-2)]  # noqa: B023 as above
    _, curve = timed(pairs.curve)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counts = f"{pairs.mated.size:,} | {pairs.non_mated:,}"
    return f"{counts} | {seconds:.1f} | {points[0]:.1f} | {points[1]:.1f} | {curve:.1f} | {peak:.0f}"


if __name__ == "__main__":
    raise SystemExit(run(main))
