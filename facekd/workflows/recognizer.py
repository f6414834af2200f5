"""Photo to embedding in one step: detector, aligner and model held together."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP
from facekd.errors import CannotSay, LowQuality
from facekd.gallery import Contract, GalleryRecords
from facekd.preprocess import ALIGNER, Detector, Face, Photo, beyond, choose, cut, decode, find_faces, quality
from facekd.preprocess.detectors import make_detector
from facekd.runtime import Embedder, load_embedder


@dataclass(frozen=True)
class Recognised:
    """What a photo gave: ``embedding`` float32 [D] of unit length of the ``face`` that was taken
    out of ``faces`` usable ones, ``quality`` in [0, 1], ``sha256`` of the photo's file, ``faults`` the
    limits that it lies beyond where it was taken all the same."""

    photo: str
    sha256: str
    face: Face
    faces: int
    quality: float
    embedding: NDArray[np.float32]
    faults: tuple[LowQuality, ...] = ()


class Recognizer:
    """A model with the detector that finds its faces; crops are cut as the model's card asks. Photos
    beyond the card's limits are refused, unless ``any_quality``."""

    def __init__(self, embedder: Embedder, detector: Detector, any_quality: bool = False) -> None:
        self.embedder = embedder
        self.detector = detector
        self.any_quality = any_quality

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str],
        detector: str = "mtcnn",
        device: str = "cpu",
        any_quality: bool = False,
    ) -> Recognizer:
        """From a model file, which must have a card, and a detector as in `make_detector`.

        Raises `NoCard`, `InputOutput`, `Unreadable`, `UsageError` or `DeviceError`, as those loaders do.
        """
        embedder = load_embedder(model, device, need_card=True)
        return cls(embedder, make_detector(detector, device), any_quality)

    @property
    def contract(self) -> Contract:
        """What a gallery filled by this recognizer is pinned to."""
        return Contract(
            space=self.embedder.space,
            dim=self.embedder.card.embedding.dim,
            model=self.embedder.name,
            detector=self.detector.name,
            aligner=ALIGNER,
        )

    def assumptions(self) -> list[str]:
        """What was taken for granted about the model, for the person at the shell."""
        if self.embedder.has_card:
            return []
        return [f"{self.embedder.name} has no card: read by insightface's convention"]

    def open_gallery(self, path: str | os.PathLike[str]) -> GalleryRecords:
        """The gallery at ``path`` to compare with, opened to be read: of this space, or one that the
        model's card calls compatible. Raises `Misfit` for any other."""
        compatible = self.embedder.card.compatible_with
        return GalleryRecords(path, self.contract, compatible=compatible, read_only=True)

    def shares_space(self, other: Contract) -> bool:
        """Whether a gallery was made in this very space, where alone the card's thresholds hold."""
        return other.space == self.embedder.space

    def differences(self, other: Contract) -> list[str]:
        """Where a gallery's photos were prepared in another way: its templates can be compared,
        but the scores may be a little lower."""
        mine = self.contract
        pairs = (("detector", other.detector, mine.detector), ("aligner", other.aligner, mine.aligner))
        differing = [(f"{what} {then}", here) for what, then, here in pairs if then != here]
        told = []
        if differing:
            then, here = (" and ".join(words) for words in zip(*differing, strict=True))
            told.append(f"made with {then}, this is {here}")
        if not self.shares_space(other):
            told.append(
                f"made with {other.model}, which the card of {mine.model} calls compatible: no probability "
                "is known of comparisons between the two"
            )
        return told

    def recognise(
        self, data: bytes | str | os.PathLike[str], name: str = "", on_many: str = "best"
    ) -> Recognised:
        """The embedding of one face in an image file, given as bytes or path; ``on_many`` is the
        policy of `choose` for several faces, ``name`` what errors call the photo.

        Raises `InputOutput`, `Unreadable`, `TooLarge` for the file; `NoFace`, `TooSmall`,
        `SeveralFaces` (under "skip") for what it shows, `TooDark`, `TooBlurred` or `TooNoisy` for how.
        """
        photo = decode(data, name)
        try:
            face, faces = self._pick(photo, on_many)
            crop = cut(photo.pixels, face, self.embedder.spec)
            faults = self._faults(photo, face)
        except CannotSay as error:
            raise type(error)(f"{photo.path}: {error.cause}", error.fix) from None
        return Recognised(
            photo=photo.path,
            sha256=photo.sha256,
            face=face,
            faces=faces,
            quality=quality(crop, face),
            embedding=self.embedder.embed(crop[None])[0],
            faults=faults,
        )

    def _faults(self, photo: Photo, face: Face) -> tuple[LowQuality, ...]:
        """The card's limits that the face lies beyond; raises the first unless any quality will do."""
        limits = self.embedder.card.photo_limits
        if limits is None:
            return ()
        found = beyond(cut(photo.pixels, face, ARCFACE_CROP), limits)
        if found and not self.any_quality:
            raise found[0]
        return tuple(found)

    def _pick(self, photo: Photo, on_many: str) -> tuple[Face, int]:
        """The face to take and how many there were to choose from."""
        shape = photo.pixels.shape[:2]
        usable = choose(find_faces(photo, self.detector), shape, "all")
        return choose(usable, shape, on_many)[0], len(usable)
