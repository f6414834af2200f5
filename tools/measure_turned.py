"""Measure how much a model loses on turned faces: TAR of turned with frontal faces compared with frontal with
frontal.

    python tools/measure_turned.py MODEL... --data PACK --data PACK --people heldout_identities.txt \\
        --detector scrfd:scrfd_500m.onnx

PACK holds a folder of aligned crops for each identity; those of the identities named in --people are
compared, all with all. A face counts as turned if its nose tip is off the midpoint of the eyes, along the
line between them, by more than a quarter of the distance from the eyes to the mouth. Landmarks are detected
in the crop with a black border; crops in which it finds no face are left out and counted. For each kind of
comparison the threshold is that of its own non-mated comparisons at an FMR of 1e-3. Intervals (95 %) are by
the bootstrap over identities at that threshold, the same identities for every model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.geometry import Pixels
from facekd.preprocess.detectors import make_detector
from facekd.runtime import load_embedder
from facekd.training.data import CropSet, open_identities, read_list

FMR = 1e-3
TURNED = 0.25
_BATCH, _REPETITIONS = 64, 1000
#: black around a crop, as a share of its side: detectors miss faces that fill the photo
_BORDER = 0.25


@dataclass(frozen=True)
class Measured:
    """TAR with its interval, and the numbers of comparisons."""

    tar: float
    low: float
    high: float
    mated: int
    non_mated: int

    def __str__(self) -> str:
        return f"{self.tar:7.2%} [{self.low:.2%}, {self.high:.2%}]"


def offset_of(landmarks: NDArray[np.float32]) -> float:
    """The distance of the nose tip of ``landmarks`` [5, 2] from the midpoint of the eyes, along the line
    between them, divided by the distance from the eyes to the mouth."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    along = (landmarks[1] - landmarks[0]) / np.linalg.norm(landmarks[1] - landmarks[0])
    return float(abs((landmarks[2] - eyes) @ along) / np.linalg.norm(mouth - eyes))


def bordered(crop: Pixels) -> Pixels:
    width = round(_BORDER * len(crop))
    return np.pad(crop, ((width, width), (width, width), (0, 0)))


def offsets(crops: CropSet, detector: str) -> NDArray[np.float64]:
    """`offset_of` all ``crops`` [N]; NaN if no face is found."""
    found, made = np.full(len(crops), np.nan), make_detector(detector, "cpu", 1)
    with click.progressbar(range(len(crops)), label="landmarks") as places:
        for place in places:
            faces = made.detect(bordered(crops.read(place)))
            if faces:
                found[place] = offset_of(max(faces, key=lambda face: face.score).landmarks)
    return found


def embeddings(model: Path, crops: CropSet) -> NDArray[np.float32]:
    embedder = load_embedder(model, threads=1)
    rows = []
    for start in range(0, len(crops), _BATCH):
        places = range(start, min(start + _BATCH, len(crops)))
        rows.append(embedder.embed(np.stack([crops.read(place) for place in places])))
    return np.concatenate(rows)


def measure(
    rows: NDArray[np.float32], labels: NDArray[np.int64], kind: NDArray[np.bool_], other: NDArray[np.bool_]
) -> Measured:
    """TAR of the comparisons of the crops in the mask ``kind`` [N] with those in ``other`` [N]."""
    a, b = np.flatnonzero(kind), np.flatnonzero(other)
    scores = rows[a] @ rows[b].T
    pairs = a[:, None] < b if np.array_equal(a, b) else np.ones(scores.shape, bool)
    same = labels[a][:, None] == labels[b]
    non_mated = scores[pairs & ~same]
    wanted = max(1, round(FMR * len(non_mated)))
    threshold = np.partition(non_mated, len(non_mated) - wanted)[len(non_mated) - wanted]
    mated = pairs & same
    who = np.broadcast_to(labels[a][:, None], scores.shape)[mated]
    count = np.bincount(who, minlength=labels.max() + 1).astype(float)
    accepted = np.bincount(who, weights=scores[mated] >= threshold, minlength=len(count))
    drawn = np.random.default_rng(0).multinomial(len(count), [1 / len(count)] * len(count), _REPETITIONS)
    low, high = np.percentile((drawn @ accepted) / (drawn @ count), [2.5, 97.5])
    tar = float(accepted.sum() / count.sum())
    return Measured(tar, float(low), float(high), int(count.sum()), len(non_mated))


@click.command()
@click.argument("models", type=EXISTING_FILE, nargs=-1, required=True)
@click.option("--data", type=EXISTING, multiple=True, required=True, help="A pack; repeat for several.")
@click.option("--people", type=EXISTING_FILE, required=True, help="Identities to compare, one a line.")
@click.option("--detector", default="mtcnn", show_default=True)
def main(models: tuple[Path, ...], data: tuple[Path, ...], people: Path, detector: str) -> None:
    crops = open_identities(data, read_list(people))
    off = offsets(crops, detector)
    turned, frontal = off > TURNED, off <= TURNED
    click.echo(f"{len(crops):,} crops: {frontal.sum():,} frontal, {turned.sum():,} turned, "
               f"{np.isnan(off).sum():,} without landmarks")  # fmt: skip
    labels = np.unique(crops.labels, return_inverse=True)[1]
    for model in models:
        rows = embeddings(model, crops)
        level, side = (measure(rows, labels, kind, frontal) for kind in (frontal, turned))
        click.echo(f"{model.stem:28}  frontal {level}  turned {side}  {100 * (side.tar - level.tar):+.1f}")
    click.echo(f"frontal: {level.mated:,} mated, {level.non_mated:,} non-mated comparisons; "
               f"turned with frontal: {side.mated:,}, {side.non_mated:,}")  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(run(main))
