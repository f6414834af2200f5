"""The crops of labelled photos, for tools that measure with them."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP, CropSpec
from facekd.errors import CannotSay
from facekd.geometry import Pixels, recrop
from facekd.preprocess import cut, decode, find_face, open_source
from facekd.preprocess.detectors import make_detector
from facekd.runtime import Embedder

Floats = NDArray[np.float32]

aligned_option = click.option(
    "--aligned", is_flag=True, help="PHOTOS are crops that were cut by facekd align."
)


class CroppedPhotos:
    """Photos in a folder per person, and their crops by ``spec``; if ``aligned``, the photos are 112-pixel
    ArcFace crops already."""

    def __init__(self, photos: Path, spec: CropSpec, aligned: bool) -> None:
        self._source, self._spec = open_source(photos), spec
        self._detector = None if aligned else make_detector("mtcnn", "cpu", 1)

    def by_person(self) -> dict[str, list[str]]:
        """The names of each person's photos, in order."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._source.names()):
            found.setdefault(name.rpartition("/")[0], []).append(name)
        return found

    def crop(self, name: str) -> Pixels | None:
        """The crop of a photo [S, S, 3]; `None` if it shows no face."""
        photo = decode(self._source.read(name), name)
        if self._detector is None:
            return recrop(photo.pixels[None], ARCFACE_CROP, self._spec)[0]
        try:
            return cut(photo.pixels, find_face(photo, self._detector), self._spec)
        except CannotSay:
            return None


def embedded(photos: CroppedPhotos, names: list[str], embedder: Embedder) -> Floats:
    """The embeddings [N, D] of the photos ``names``, NaN if there is no face."""
    rows = np.full((len(names), embedder.card.embedding.dim), np.nan, np.float32)
    with click.progressbar(names, label="photos") as shown:
        for place, name in enumerate(shown):
            crop = photos.crop(name)
            if crop is not None:
                rows[place] = embedder.embed(crop[None])[0]
    return rows
