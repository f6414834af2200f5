"""Measure what storing templates in half precision would cost: scores, TAR over all pairs, and bytes.

    facekd align lfw.zip lfw-crops.zip
    python tools/measure_half_templates.py student.onnx lfw-crops.zip --aligned

Every photo is compared with every other, once with its embedding as it is, and once rounded to float16 and
made a unit vector again, as it would be read from a gallery.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from cropped_photos import CroppedPhotos, aligned_option, embedded
from numpy.typing import NDArray

from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.runtime import load_embedder
from facekd.verification import all_pairs

Floats = NDArray[np.float32]
FMRS = (1e-3, 1e-4)
_BLOCK = 1024


@dataclass(frozen=True)
class Cost:
    """``largest`` is the largest change of a score; ``before`` and ``after`` are TARs at `FMRS`."""

    largest: float
    before: tuple[float | None, ...]
    after: tuple[float | None, ...]


def rounded(rows: Floats) -> Floats:
    """Unit ``rows`` [N, D] as they would be read from a gallery in half precision."""
    half = rows.astype(np.float16).astype(np.float32)
    return half / np.linalg.norm(half, axis=1, keepdims=True)


def cost(rows: Floats, people: list[str]) -> Cost:
    """Compare all ``rows`` [N, D] of ``people`` [N] with each other, in both precisions."""
    half, largest = rounded(rows), 0.0
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        largest = max(largest, float(np.abs(rows[block] @ rows.T - half[block] @ half.T).max()))
    both = (all_pairs(kind, people) for kind in (rows, half))
    before, after = (tuple(pairs.operating_point(fmr).tar for fmr in FMRS) for pairs in both)
    return Cost(largest, before, after)


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("photos", type=EXISTING)
@aligned_option
def main(model: Path, photos: Path, aligned: bool) -> None:
    """Measure half precision with MODEL on PHOTOS, a folder or zip with a folder per person."""
    embedder = load_embedder(model, threads=1)
    crops = CroppedPhotos(photos, embedder.spec, aligned)
    named = {name: person for person, names in crops.by_person().items() for name in names}
    rows = embedded(crops, list(named), embedder)
    there = np.flatnonzero(np.isfinite(rows).all(axis=1))
    people = [list(named.values())[place] for place in there]
    rows = rows[there]
    found = cost(rows, people)
    each = 4 * rows.shape[1]
    click.echo(f"{len(rows):,} photos; {each} bytes for each embedding, {each // 2} in half precision")
    click.echo(f"largest change of a score: {found.largest:.1e}")
    for fmr, before, after in zip(FMRS, found.before, found.after, strict=True):
        told = ("too few comparisons" if tar is None else f"{100 * tar:.3f}%" for tar in (before, after))
        click.echo(f"TAR at FMR {fmr:g}: {' and in half '.join(told)}")


if __name__ == "__main__":
    raise SystemExit(run(main))
