"""Photo to embedding in one step: a detector, the aligner and a model together."""

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
    """The result for a photo: ``embedding`` float32 [D] of unit length of the ``face`` that was chosen
    from ``faces`` usable ones, ``quality`` in [0, 1] (`mirror_consistency`), ``sha256`` of the photo's
    file, and ``faults``, the limits that it exceeds if it was accepted anyway."""

    photo: str
    sha256: str
    face: Face
    faces: int
    quality: float
    embedding: NDArray[np.float32] = field(repr=False)  # personal data, and logs may contain the repr
    faults: tuple[LowQuality, ...] = ()


@dataclass(frozen=True)
class Verification:
    """Whether two photos, or a photo and an enrolled person, are the ``same`` person.

    ``score`` is the cosine in [-1, 1]; ``photos`` are the results for each photo; ``evidence`` is `None`
    if the card has no score map. For a claim, ``claim`` is the claimed name and ``templates`` the number of
    that person's templates. ``notes`` state why the threshold or the probability may not hold here.

    It has no truth value: a verification must not be mistaken for its decision.
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
    """A model with the detector that finds its faces; crops are cut as the model's card states.

    ``model`` is a file, which must have a card, or an `Embedder` from `load_embedder`; by default the
    shipped student. ``detector`` is a name, as for `make_detector` ("mtcnn" by default), or a `Detector`.
    Names and files are loaded on ``device``; objects keep theirs. Two faces are the same person at or above
    ``threshold``, a cosine; by default the card's calibrated threshold at ``fmr``, or its strictest. Photos
    outside the card's limits are refused, unless ``any_quality``.

    Threads may share it; because detectors are not thread-safe, photos are processed one at a time.

    Raises `NoCard`, `InputOutput`, `Unreadable` or `DeviceError` for the model, `UsageError` for an unknown
    detector or an invalid threshold.
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
        """The threshold given to this recognizer, if any."""
        return self._threshold

    @property
    def threshold(self) -> Threshold:
        """The lowest score that counts as the same person. Raises `UsageError` if none is known: no threshold
        holds for every model."""
        return choose_threshold(self.embedder.card, self._threshold, self._fmr)

    @property
    def contract(self) -> Contract:
        """The contract of a gallery that this recognizer fills."""
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
        """Open the gallery at ``path`` for reading, an encrypted one with its ``key``. It must belong to this
        space, or to one that the model's card lists as compatible; otherwise raises `Misfit`. With
        ``audit_reads``, each claim and search is recorded as requested ``by`` somebody (the name of a token):
        the file must then be writable."""
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
        """Whether a gallery belongs to this space, the only one in which the card's thresholds hold."""
        return other.space == self.embedder.space

    def differences(self, other: Contract) -> list[str]:
        """Differences in the preparation of a gallery's photos: its templates can be compared, but scores may
        be a little lower."""
        mine = self.contract
        pairs = (("detector", other.detector, mine.detector), ("aligner", other.aligner, mine.aligner))
        differing = [(f"{what} {then}", here) for what, then, here in pairs if then != here]
        told = []
        if differing:
            then, here = (" and ".join(words) for words in zip(*differing, strict=True))
            told.append(f"made with {then}, this is {here}")
        if not self.shares_space(other):
            told.append(
                f"made with {other.model}, which the card of {mine.model} lists as compatible: the "
                "probability is unknown for comparisons between the two"
            )
        return told

    def doubts(self, threshold: Threshold | None = None) -> list[str]:
        """Reasons why the ``threshold``, by default that of `verify`, and the probability may not hold here;
        see `thresholds.doubts`."""
        return doubts(threshold or self.threshold, self.detector.name, self.embedder.card.score_map)

    def embed(self, photo: PhotoLike) -> NDArray[np.float32]:
        """The embedding float32 [D], of unit length, of the face in ``photo``; of several faces, the largest
        near the centre. Raises what `recognise` raises."""
        return self.recognise(photo).embedding

    def verify(self, first: PhotoLike, second: PhotoLike) -> Verification:
        """Whether two photos show the same person. Of several faces in a photo, the largest near its centre
        is used; ``photos`` of the answer state which, and how many there are.

        Raises `UsageError` if no threshold is known, and for each photo what `recognise` raises, with the
        name of the photo.
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
        """The embedding of one face in a photo, given as a path, the bytes of an image file, or pixels
        (`as_photo`), with its details. ``on_many`` is the policy of `choose` for several faces; ``name`` is
        the photo's name in errors, by default its path.

        Raises `InputOutput`, `Unreadable`, `TooLarge` for the file; `NoFace`, `TooSmall`, `Turned`,
        `SeveralFaces` (under "skip" and "dominant") for its contents; `TooDark`, `TooBlurred` or `TooNoisy`
        for its quality; `TypeError` or `UsageError` for an object that is not a photo.
        """
        try:
            return self._recognise(as_photo(photo, name), on_many)
        except (CannotSay, InputOutput) as error:
            error.photo = name or _path(photo) or None
            raise

    def recognise_all(self, photo: PhotoLike, name: str = "") -> tuple[Recognised, ...]:
        """All usable faces in a photo, from left to right. Raises what `recognise` raises."""
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
        """All usable faces in a photo, from left to right, and the faults of the others; there may be no
        faces at all, as in a frame of a video. Raises `InputOutput`, `Unreadable` or `TooLarge` for the
        file."""
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
        """The result for ``face``, one of the usable ``faces`` of ``photo``."""
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
        """The card's limits that the face exceeds. Raises the first one, unless any quality is accepted."""
        limits = self.embedder.card.photo_limits
        if limits is None:
            return ()
        found = beyond(cut(photo.pixels, face, ARCFACE_CROP), limits)
        if found and not self.any_quality:
            raise found[0]
        return tuple(found)

    def _usable(self, photo: Photo) -> list[Face]:
        """The faces to choose from."""
        with _named(photo):
            with self._looking:
                faces = find_faces(photo, self.detector)
            return choose(faces, photo.pixels.shape[:2], "all")


@contextmanager
def _named(photo: Photo) -> Iterator[None]:
    """Add the name of the photo to errors about it."""
    try:
        yield
    except CannotSay as error:
        raise type(error)(f"{photo.path}: {error.cause}", error.fix) from None


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The cosine of two unit vectors, clipped to [-1, 1]."""
    return float(np.clip(np.dot(one, other), -1.0, 1.0))


def _embedder(model: str | os.PathLike[str] | Embedder | None, device: str) -> Embedder:
    """The given or shipped model, which must have a card."""
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
    """The path of a photo; empty if it is not given as a path."""
    return os.fsdecode(photo) if isinstance(photo, str | os.PathLike) else ""
