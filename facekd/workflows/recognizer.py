"""Photo to embedding in one step: detector, aligner and model held together."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from facekd.card import ARCFACE_CROP, MODELS_COME_FROM, no_card
from facekd.errors import CannotSay, InputOutput, LowQuality, UsageError
from facekd.gallery import Contract, GalleryRecords, KeySource, ServerAddress
from facekd.preprocess import (
    ALIGNER,
    Detector,
    Face,
    Photo,
    PhotoLike,
    as_photo,
    beyond,
    choose,
    cut,
    find_faces,
)
from facekd.preprocess.detectors import make_detector
from facekd.runtime import Embedder, load_embedder, mirror_consistency
from facekd.weights import shipped_model
from facekd.workflows.thresholds import Evidence, Threshold, choose_threshold, doubts, evidence


@dataclass(frozen=True)
class Recognised:
    """What a photo gave: ``embedding`` float32 [D] of unit length of the ``face`` that was taken
    out of ``faces`` usable ones, ``quality`` in [0, 1] (`mirror_consistency`), ``sha256`` of the photo's
    file, ``faults`` the limits that it lies beyond where it was taken all the same."""

    photo: str
    sha256: str
    face: Face
    faces: int
    quality: float
    embedding: NDArray[np.float32] = field(repr=False)  # personal data, and a log may print this
    faults: tuple[LowQuality, ...] = ()


@dataclass(frozen=True)
class Verification:
    """Whether two photos, or a photo and an enrolled person, are the ``same`` person.

    ``score`` is the cosine in [-1, 1]; ``photos`` what was taken of each photo; ``evidence`` is `None`
    where the card has no score map; for a claim, the ``claim``ed name and how many ``templates`` stand
    behind it. ``notes`` say why the threshold or the probability may not hold here.

    It is neither true nor false by itself: a score must not be taken for a decision.
    """

    same: bool
    score: float
    threshold: Threshold
    photos: tuple[Recognised, ...]
    evidence: Evidence | None = None
    claim: str | None = None
    templates: int | None = None
    notes: tuple[str, ...] = ()

    def __bool__(self) -> NoReturn:
        raise TypeError("a verification has no truth value: use its .same")


class Recognizer:
    """A model with the detector that finds its faces; crops are cut as the model's card asks.

    ``model`` is a file, which must have a card, or an `Embedder` from `load_embedder`; by default the
    student that ships. ``detector`` is one by name, as in `make_detector` ("mtcnn" by default), or a
    `Detector`. Both are loaded on ``device``, an embedder and a detector that are given stay where they
    are. Photos are the same person from ``threshold`` on, a cosine, else from the card's calibrated one at
    ``fmr``, else from its strictest. Photos beyond the card's limits are refused, unless ``any_quality``.

    Threads may share it: detectors are not made for that, so one photo is looked at at a time.

    Raises `NoCard`, `InputOutput`, `Unreadable` or `DeviceError` for the model, `UsageError` for an unknown
    detector, or a threshold that cannot be.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Embedder | None = None,
        *,
        detector: str | Detector | None = None,
        threshold: float | None = None,
        fmr: float | None = None,
        any_quality: bool = False,
        device: str = "cpu",
    ) -> None:
        self.embedder = _embedder(model, device)
        if detector is None or isinstance(detector, str):
            detector = make_detector("mtcnn" if detector is None else detector, device)
        self.detector: Detector = detector
        self.any_quality = any_quality
        self._threshold, self._fmr = threshold, fmr
        self._looking = threading.Lock()
        if threshold is not None or fmr is not None:
            choose_threshold(self.embedder.card, threshold, fmr)

    @property
    def given_threshold(self) -> float | None:
        """The one that this recognizer was made with, if any."""
        return self._threshold

    @property
    def threshold(self) -> Threshold:
        """The score from which two faces are the same person. Raises `UsageError` where none is known: no
        threshold holds for every model."""
        return choose_threshold(self.embedder.card, self._threshold, self._fmr)

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

    def open_gallery(
        self,
        path: str | os.PathLike[str] | ServerAddress,
        key: KeySource | None = None,
        *,
        audit_reads: bool = False,
        by: str | None = None,
    ) -> GalleryRecords:
        """The gallery at ``path`` to compare with, opened to be read, an encrypted one by its ``key``: of
        this space, or one that the model's card calls compatible. With ``audit_reads`` each claim and search
        is noted, and ``by`` whom it was asked for: the file must be writable then. Raises `Misfit` for any
        other."""
        return GalleryRecords(
            path,
            self.contract,
            compatible=self.embedder.card.compatible_with,
            read_only=not audit_reads,
            by=by,
            key=key,
            audit_reads=audit_reads,
        )

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

    def doubts(self) -> list[str]:
        """Why the threshold and the probability may not hold here; see `thresholds.doubts`."""
        return doubts(self.threshold, self.detector.name, self.embedder.card.score_map)

    def embed(self, photo: PhotoLike) -> NDArray[np.float32]:
        """The embedding float32 [D], of unit length, of the face in ``photo``: of several, of the largest
        near the centre. Raises as `recognise`."""
        return self.recognise(photo).embedding

    def verify(self, first: PhotoLike, second: PhotoLike) -> Verification:
        """Whether two photos show the same person. Of several faces in a photo the largest near its centre is
        taken; ``photos`` of the answer say which, of how many.

        Raises `UsageError` where no threshold is known, and for each photo what `recognise` raises, with the
        photo named.
        """
        threshold = self.threshold
        photos = (
            self.recognise(first, _path(first) or "the first photo"),
            self.recognise(second, _path(second) or "the second photo"),
        )
        score = cosine(photos[0].embedding, photos[1].embedding)
        return Verification(
            same=score >= threshold.value,
            score=score,
            threshold=threshold,
            photos=photos,
            evidence=evidence(self.embedder.card, score),
            notes=tuple(self.doubts()),
        )

    def recognise(self, photo: PhotoLike, name: str = "", on_many: str = "best") -> Recognised:
        """The embedding of one face in a photo, given as path, as bytes of an image file or as pixels
        (`as_photo`), with what was taken of it; ``on_many`` is the policy of `choose` for several faces,
        ``name`` what errors call the photo, the path by default.

        Raises `InputOutput`, `Unreadable`, `TooLarge` for the file; `NoFace`, `TooSmall`, `Turned`,
        `SeveralFaces` (under "skip" and "dominant") for what it shows, `TooDark`, `TooBlurred` or `TooNoisy`
        for how; `TypeError` or `UsageError` for what is no photo.
        """
        try:
            return self._recognise(as_photo(photo, name), on_many)
        except (CannotSay, InputOutput) as error:
            error.photo = name or _path(photo) or None
            raise

    def recognise_all(self, photo: PhotoLike, name: str = "") -> tuple[Recognised, ...]:
        """Every usable face in a photo, from left to right. Raises as `recognise`."""
        try:
            found = as_photo(photo, name)
            faces = sorted(self._usable(found), key=lambda face: float(face.box[0]))
            return tuple(self._embedded(found, face, len(faces)) for face in faces)
        except (CannotSay, InputOutput) as error:
            error.photo = name or _path(photo) or None
            raise

    def recognise_usable(
        self, photo: PhotoLike, name: str = ""
    ) -> tuple[tuple[Recognised, ...], tuple[CannotSay, ...]]:
        """Every face in a photo that can be used, from left to right, and why others cannot: one of many
        frames may well show none. Raises `InputOutput`, `Unreadable` or `TooLarge` for the file."""
        found = as_photo(photo, name)
        usable: list[Recognised] = []
        refused: list[CannotSay] = []
        try:
            faces = self._usable(found)
        except CannotSay as error:
            return (), (error,)
        for face in sorted(faces, key=lambda face: float(face.box[0])):
            try:
                usable.append(self._embedded(found, face, len(faces)))
            except CannotSay as error:
                refused.append(error)
        return tuple(usable), tuple(refused)

    def _recognise(self, photo: Photo, on_many: str) -> Recognised:
        usable = self._usable(photo)
        with _named(photo):
            face = choose(usable, photo.pixels.shape[:2], on_many)[0]
        return self._embedded(photo, face, len(usable))

    def _embedded(self, photo: Photo, face: Face, faces: int) -> Recognised:
        """``face``, one of the usable ``faces`` of ``photo``, as it is recognised."""
        with _named(photo):
            crop = cut(photo.pixels, face, self.embedder.spec)
            faults = self._faults(photo, face)
        embedding = self.embedder.embed(crop[None])
        return Recognised(
            photo=photo.path,
            sha256=photo.sha256,
            face=face,
            faces=faces,
            quality=float(mirror_consistency(self.embedder, crop[None], embedding)[0]),
            embedding=embedding[0],
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

    def _usable(self, photo: Photo) -> list[Face]:
        """The faces that there are to choose from."""
        with _named(photo):
            with self._looking:
                faces = find_faces(photo, self.detector)
            return choose(faces, photo.pixels.shape[:2], "all")


@contextmanager
def _named(photo: Photo) -> Iterator[None]:
    """Name the photo in what cannot be said of it."""
    try:
        yield
    except CannotSay as error:
        raise type(error)(f"{photo.path}: {error.cause}", error.fix) from None


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of two unit vectors; rounding beyond 1 is cut off."""
    return float(np.clip(np.dot(one, other), -1.0, 1.0))


def _embedder(model: str | os.PathLike[str] | Embedder | None, device: str) -> Embedder:
    """The model that is meant, if it has a card."""
    if model is None:
        model = shipped_model()
        if model is None:
            raise UsageError(
                "no model is given, and this installation has no shipped student", MODELS_COME_FROM
            )
    if isinstance(model, str | os.PathLike):
        return load_embedder(model, device, need_card=True)
    if not model.has_card:
        raise no_card(model.name)
    return model


def _path(photo: PhotoLike) -> str:
    """Empty where the photo is not given as a path."""
    return os.fsdecode(photo) if isinstance(photo, str | os.PathLike) else ""
