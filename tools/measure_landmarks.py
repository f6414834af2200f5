"""Measure how far a detector's landmarks lie from another one's, and what that does to embeddings.

    python tools/measure_landmarks.py photos/ --reference scrfd:scrfd_500m.onnx --detector mtcnn \\
        --model student.onnx --face 80

Takes the largest face of every photo that all detectors find, at the size it has and, with --face, in a
copy in which the reference's box is so many pixels wide. For every detector the table has the mean distance
of each landmark from the reference's (x, y; in pixels of the aligned crop of 112, so that left and right are
those of an upright face), the mean of their standard deviations, how much wider the detector's crops are,
and the mean cosine of MODEL's embedding of the crop to that of the reference's crop. A detector that looks
twice at a face (`refine`) is measured without that, too, and the second look's processor time is given.
Faces with a landmark further off than 25 pixels are counted and left out: they are other faces.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP, ARCFACE_TEMPLATE
from facekd.cli import run
from facekd.errors import CannotSay
from facekd.geometry import scale_of, similarity
from facekd.preprocess import Detector, Face, Photo, cut, decode, find_faces, open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import load_embedder

TEMPLATE = np.asarray(ARCFACE_TEMPLATE)

#: pixels of the template: a face with a landmark further off is another one
OTHER = 25.0


class Once:
    """``detector`` without its second look."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def __getattr__(self, name: str) -> Any:
        if name == "refine":
            raise AttributeError(name)
        return getattr(self.detector, name)


class Timed(Once):
    """``detector``, with the processor time of its second looks in ``seconds``."""

    seconds, faces = 0.0, 0

    def refine(self, pixels: NDArray[np.uint8], face: Face) -> Face:
        begun = time.process_time()
        better: Face = self.detector.refine(pixels, face)  # type: ignore[attr-defined]
        self.seconds, self.faces = self.seconds + time.process_time() - begun, self.faces + 1
        return better


def looks(name: str) -> dict[str, Detector]:
    """The detector ``name`` as it is, and without its second look if it has one."""
    made = make_detector(name, threads=1)
    if not hasattr(made, "refine"):
        return {name: made}
    return {f"{name}, one look": Once(made), f"{name}, two looks": Timed(made)}


def largest(photo: Photo, detector: Detector) -> Face | None:
    return max(find_faces(photo, detector), key=lambda face: face.area, default=None)


def reduced(photo: Photo, face: Face, width: int) -> Photo:
    """``photo`` so small that the box of ``face`` is ``width`` pixels wide; unchanged if it is narrower."""
    import cv2

    scale = width / float(face.box[2] - face.box[0])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.pixels.shape[1] * scale)), max(1, round(photo.pixels.shape[0] * scale)))
    small = cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA)
    return replace(photo, pixels=np.asarray(small, np.uint8))


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option("--reference", required=True)
@click.option("--detector", "detectors", multiple=True, required=True)
@click.option("--model", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--face", type=click.IntRange(20), help="Width of the faces in pixels.")
@click.option(
    "--part", type=(int, int), default=(0, 1), show_default=True, help="K N: every Nth photo from K."
)
def main(
    photos: Path,
    reference: str,
    detectors: tuple[str, ...],
    model: Path,
    face: int | None,
    part: tuple[int, int],
) -> None:
    """Compare each --detector with --reference on PHOTOS."""
    source, embedder = open_source(photos), load_embedder(model, threads=1)
    first = make_detector(reference, threads=1)
    compared = {label: made for name in detectors for label, made in looks(name).items()}
    names, others = list(compared), list(compared.values())
    apart: list[list[NDArray[np.float64]]] = [[] for _ in names]
    wider: list[list[float]] = [[] for _ in names]
    crops: list[list[NDArray[np.uint8]]] = [[] for _ in range(len(names) + 1)]
    elsewhere = unread = 0
    chosen = source.names()[part[0] :: part[1]]
    for name in chosen:
        try:
            photo = decode(source.read(name), name)
            known = largest(photo, first)
            if known is not None and face:
                photo = reduced(photo, known, face)
                known = largest(photo, first)
            found = [largest(photo, other) for other in others]
        except CannotSay:
            unread += 1
            continue
        if known is None or any(one is None for one in found):
            unread += 1
            continue
        matrix = similarity(known.landmarks, TEMPLATE)
        distances = [(one.landmarks - known.landmarks) @ matrix[:, :2].T for one in found if one is not None]
        if max(float(np.abs(distance).max()) for distance in distances) > OTHER:
            elsewhere += 1
            continue
        crops[-1].append(cut(photo.pixels, known, ARCFACE_CROP))
        for number, one in enumerate(found):
            assert one is not None
            apart[number].append(distances[number])
            wider[number].append(scale_of(matrix) / scale_of(similarity(one.landmarks, TEMPLATE)))
            crops[number].append(cut(photo.pixels, one, ARCFACE_CROP))
    click.echo(f"{len(crops[-1])} faces; {elsewhere} other faces, {unread} photos without a face of all")
    embedded = [embedder.embed(np.stack(one)) for one in crops]
    for number, name in enumerate(names):
        distance = np.stack(apart[number])
        mean, deviation = distance.mean(axis=0), distance.std(axis=0, ddof=1)
        error = (deviation / len(distance) ** 0.5).max()
        cosines = (embedded[number] * embedded[-1]).sum(axis=1)
        click.echo(
            f"{name}: mean {np.round(mean, 2).tolist()} (standard error at most {error:.2f}), "
            f"standard deviation {deviation.mean():.2f}, "
            f"crops wider by {np.mean(wider[number]) * 100 - 100:+.1f} %, "
            f"cosine {cosines.mean():.4f}, first decile {np.percentile(cosines, 10):.3f}"
        )
        made = others[number]
        if isinstance(made, Timed) and made.faces:
            click.echo(f"  the second look takes {1000 * made.seconds / made.faces:.1f} ms a face")


if __name__ == "__main__":
    raise SystemExit(run(main))
