"""Measure which face is chosen in photos lying on their side, and in photos with bystanders.

    python tools/measure_face_choice.py lfw.zip edgeface_xs.onnx --detector mtcnn \\
        --detector scrfd:scrfd_500m.onnx --detector yunet:yunet_2023mar.onnx

PHOTOS are named Person/photo.jpg. On their side: some photos in their three quarter turns; a choice is right
if it gives the embedding of the upright photo (cosine above 0.8). Bystanders: every photo with several usable
faces of a person with other photos of one face; the right face is the one nearest to the direction of those,
and the photo counts if that face reaches --same. Prints a table of each, for every detector and policy.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.errors import CannotSay
from facekd.preprocess import Face, Photo, choose, cut, decode, find_face, find_faces, open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import load_embedder, threads_available
from facekd.verification import wilson

#: cosine above which two crops of one photo are the same crop
SAME_CROP = 0.8
POLICIES = ("best", "largest", "central", "dominant")

Floats = NDArray[np.float32]
#: for one photo: its height and width, its usable faces, their embeddings [faces, D]
Seen = tuple[tuple[int, ...], list[Face], Floats]


class Looker:
    """One detector and one model on one thread, created in the worker process."""

    def __init__(self, photos: Path, model: Path, detector: str) -> None:
        self.source = open_source(photos)
        self.embedder = load_embedder(model, threads=1)
        self.detector = make_detector(detector, threads=1)

    def photo(self, name: str) -> Photo:
        return decode(self.source.read(name), name)

    def embedding(self, photo: Photo, face: Face) -> Floats:
        return self.embedder.embed(cut(photo.pixels, face, self.embedder.spec)[None])[0]

    def turned(self, name: str) -> list[bool]:
        """For the three quarter turns of a photo, whether they give the embedding of the upright one."""
        upright = self.photo(name)
        wanted = self.embedding(upright, find_face(upright, self.detector))
        right = []
        for quarters in (1, 2, 3):
            turned = Photo(name, np.ascontiguousarray(np.rot90(upright.pixels, quarters)), "")
            try:
                found = self.embedding(turned, find_face(turned, self.detector))
            except CannotSay:
                right.append(False)
            else:
                right.append(float(wanted @ found) > SAME_CROP)
        return right

    def faces(self, name: str) -> Seen | None:
        photo = self.photo(name)
        shape = photo.pixels.shape[:2]
        try:
            faces = choose(find_faces(photo, self.detector), shape, "all")
        except CannotSay:
            return None
        return shape, faces, np.stack([self.embedding(photo, face) for face in faces])


_looker: Looker


def _start(photos: Path, model: Path, detector: str) -> None:
    global _looker
    _looker = Looker(photos, model, detector)


def _turned(name: str) -> list[bool]:
    return _looker.turned(name)


def _faces(name: str) -> Seen | None:
    return _looker.faces(name)


def judged(seen: dict[str, Seen], same: float) -> Iterator[tuple[Seen, int]]:
    """The photos with bystanders that can be assessed, each with the number of the right face."""
    of_person: dict[str, list[str]] = defaultdict(list)
    for name in seen:
        of_person[name.split("/")[-2]].append(name)
    for names in of_person.values():
        alone = [seen[name][2][0] for name in names if len(seen[name][1]) == 1]
        if not alone:
            continue
        direction = np.sum(alone, axis=0)
        direction /= np.linalg.norm(direction)
        for name in names:
            scores = seen[name][2] @ direction
            if len(scores) > 1 and scores.max() >= same:
                yield seen[name], int(scores.argmax())


@click.command()
@click.argument("photos", type=EXISTING)
@click.argument("model", type=EXISTING_FILE)
@click.option("--detector", "detectors", multiple=True, required=True)
@click.option("--turns", default=200, show_default=True, help="About how many photos to turn.")
@click.option("--same", default=0.3, show_default=True, help="Score from which a face is the person's.")
def main(photos: Path, model: Path, detectors: tuple[str, ...], turns: int, same: float) -> None:
    """Count right choices of faces on PHOTOS, by the scores of MODEL."""
    names = [name for name in open_source(photos).names() if "/" in name]
    sample = names[:: max(1, len(names) // turns)]
    photos_of = Counter(name.split("/")[-2] for name in names)
    several = [name for name in names if photos_of[name.split("/")[-2]] > 1]
    for detector in detectors:
        pool = partial(multiprocessing.get_context("spawn").Pool, threads_available(), _start)
        with pool((photos, model, detector)) as workers:
            right = [one for turn in workers.imap(_turned, sample, 8) for one in turn]
            found = workers.imap(_faces, several, 16)
            seen = {name: one for name, one in zip(several, found, strict=True) if one is not None}
        click.echo(f"{detector}: {sum(right)} of {len(right)} turned photos give the upright photo's face")
        cases = list(judged(seen, same))
        click.echo("| policy | photos | taken | wrong | at most, 95 % |")
        click.echo("| --- | --- | --- | --- | --- |")
        for policy in POLICIES:
            taken = wrong = 0
            for (shape, faces, _), which in cases:
                try:
                    (face,) = choose(faces, shape, policy)
                except CannotSay:
                    continue
                taken, wrong = taken + 1, wrong + (face is not faces[which])
            bound = wilson(wrong, taken).high if taken else 1.0
            click.echo(f"| {policy} | {len(cases)} | {taken} | {wrong} | {100 * bound:.1f} % |")


if __name__ == "__main__":
    raise SystemExit(run(main))
