"""The gallery in Python: enroll people, verify claims, list and remove people."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np

from facekd import errors
from facekd.errors import CannotSay, FacekdError, InputOutput, UsageError
from facekd.files import make_gallery_folder
from facekd.gallery import (
    NO_KEY,
    GalleryRecords,
    Key,
    Person,
    Place,
    ServerAddress,
    as_key,
    clean_name,
    default_place,
    gallery_place,
)
from facekd.preprocess import PhotoLike, as_photo
from facekd.verification.results import IdentifiedPhoto
from facekd.workflows.enroll import Enrolled, enroll_people
from facekd.workflows.gallery_encryption import (
    Rewritten,
    decrypt_gallery,
    encrypt_gallery,
    rotate_key,
)
from facekd.workflows.gallery_re_embed import ReEmbedded, re_embed_gallery
from facekd.workflows.identify import FPIR, identify_photo, open_search
from facekd.workflows.photos_given import Given, PhotoInHand, photos_at
from facekd.workflows.recognizer import Recognizer, Verification
from facekd.workflows.verify import verify_claim
from facekd.workflows.video import identify_video

#: photos named in the error if none was enrolled
_NAMED = 5


@dataclass(frozen=True)
class Removed:
    """Who was removed, and how many ``templates``. ``pending`` means that another program was still reading
    the gallery: the last bytes are erased from the file when it has finished."""

    name: str
    templates: int
    pending: bool


def remove_person(records: GalleryRecords, name: str) -> Removed:
    """Remove the person ``name`` and all their templates, leaving no trace in the file.

    Raises `NotFound` if nobody of that name is enrolled, `InputOutput` if the gallery fails.
    """
    person = records.person(name)
    with records.transaction():
        removed = records.remove(person.name)
    return Removed(person.name, removed, records.pending)


class Gallery:
    """Who is enrolled, in one file, or in one database of a PostgreSQL server.

    ``path`` is a file, or a URL ``postgresql://USER@HOST/DATABASE``; by default ``FACEKD_GALLERY``, otherwise
    ``gallery.db`` in the user's data folder. Enrolling creates the file and the data folder, accessible to
    their owner only, or the tables in the database. ``recognizer`` is by default that of the shipped student,
    which is loaded when it is needed; a new gallery belongs to its space.

    ``key`` is that of an encrypted gallery: 32 bytes, or the path of the key's file; by default it comes
    from ``FACEKD_GALLERY_KEY_FILE``, ``FACEKD_GALLERY_KEY`` or ``FACEKD_GALLERY_KEY_COMMAND``. With a key, a
    new gallery is encrypted, and an unencrypted one is refused.

    Each call opens and closes the file, so other programs and threads can use it at the same time, and
    threads can share a `Gallery`. Leaving a ``with`` block, or `close`, releases the model loaded here.

    With ``audit_reads``, every `verify` and `identify` is recorded in the file before it is answered
    (``facekd gallery audit --reads``), and raises `InputOutput` if that fails.

    Every call raises `InputOutput` or `Unreadable` if the file fails, `Misfit` if it belongs to another space
    than the recognizer's, `NoKey` or `WrongKey` if it is encrypted, `UsageError` if the gallery is closed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | ServerAddress | None = None,
        *,
        recognizer: Recognizer | None = None,
        key: Key | None = None,
        audit_reads: bool = False,
    ) -> None:
        self.path: Place = default_place() if path is None else gallery_place(path)
        self._key = None if key is None else as_key(key)
        self.audit_reads = audit_reads
        self._recognizer = recognizer
        self._loading = threading.Lock()
        self._closed = False

    def __enter__(self) -> Gallery:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the model. People who were enrolled are already in the file."""
        self._closed = True
        self._recognizer = None

    @property
    def recognizer(self) -> Recognizer:
        """The recognizer for photos. Loading it raises what `Recognizer` raises."""
        with self._loading:
            self._check_open()
            if self._recognizer is None:
                self._recognizer = Recognizer()
            return self._recognizer

    def enroll(
        self,
        name: str,
        photos: PhotoLike | Iterable[PhotoLike],
        *,
        on_many: str = "dominant",
        force: bool = False,
    ) -> Enrolled:
        """Add ``photos`` to the person ``name``, who need not be enrolled yet; they are on the disk when it
        returns. A path may be a folder, for all images and videos below it, or a video, for its best frames.

        Photos that the person already has are skipped; those that cannot be used, or that the guard refuses
        (`EnrollmentGuard`), are the ``failures`` of the answer, and the others are enrolled all the same.
        ``on_many`` is the policy of `choose` for several faces in a photo, and of `chosen_track` for several
        people in a video; ``force`` overrides the guard.

        If no photo of theirs is enrolled, raises the error that all photos share (as `NoFace`), otherwise
        `InputOutput` or `CannotSay`; `UsageError` for an invalid name, or without photos.
        """
        recognizer = self.recognizer
        clean_name(name)
        given = _given(photos)
        make_gallery_folder(self.path)
        with GalleryRecords(self.path, recognizer.contract, create=True, key=self._key, late=True) as records:
            stored = records.name_of(name)
            prepared = tuple(f"{self.path} was {one}" for one in recognizer.differences(records.contract))
            (entry,) = enroll_people(records, recognizer, {stored: given}, on_many, force)
        if not entry.templates:
            raise _nobody(entry)
        return replace(entry, notes=(*prepared, *entry.notes))

    def verify(self, photo: PhotoLike, name: str) -> Verification:
        """Whether ``photo`` shows the enrolled person ``name``.

        Raises `NotFound` if nobody of that name is enrolled, `UsageError` if no threshold is known, and what
        `Recognizer.recognise` raises for the photo.
        """
        recognizer = self.recognizer
        threshold = recognizer.threshold
        with recognizer.open_gallery(self.path, self._key, audit_reads=self.audit_reads) as records:
            return verify_claim(recognizer, records, name, photo, threshold)

    def identify(
        self, photo: PhotoLike, top: int = 5, *, fpir: float = FPIR, all_faces: bool = False
    ) -> IdentifiedPhoto:
        """Search everybody enrolled for the person in ``photo``: the ``top`` candidates, and a decision that
        keeps the false positive identification rate ``fpir`` in this gallery. A threshold given to the
        recognizer decides instead.

        Raises what `Recognizer.recognise` raises for the photo, `UsageError` for an invalid rate.
        """
        recognizer = self.recognizer
        with recognizer.open_gallery(self.path, self._key, audit_reads=self.audit_reads) as records:
            search = open_search(recognizer, records, fpir, recognizer.given_threshold)
            return identify_photo(search, photo, top=top, all_faces=all_faces)

    def identify_video(
        self, video: str | os.PathLike[str], top: int = 5, *, fpir: float = FPIR
    ) -> tuple[IdentifiedPhoto, ...]:
        """As `identify`, for each person in a video file; the ``track`` of an answer states when they are
        seen. If the video cannot be used, one answer with a ``failure``."""
        recognizer = self.recognizer
        with recognizer.open_gallery(self.path, self._key, audit_reads=self.audit_reads) as records:
            search = open_search(recognizer, records, fpir, recognizer.given_threshold)
            return identify_video(search, Path(video), top=top)

    def re_embed(
        self,
        photos: str | os.PathLike[str],
        *,
        out: str | os.PathLike[str] | None = None,
        drop_missing: bool = False,
        on_many: str = "dominant",
    ) -> ReEmbedded:
        """Move the gallery from another model to the recognizer's, with the photos of its people, which may
        be anywhere in ``photos``, a folder or pack. ``out`` moves a copy instead. See `re_embed_gallery`.

        ``moved`` of the answer is `None` if nothing was changed, because people in ``lost`` cannot be moved.
        """
        return re_embed_gallery(
            self.path,
            Path(photos),
            self.recognizer,
            out=None if out is None else Path(out),
            drop_missing=drop_missing,
            on_many=on_many,
            key=self._key,
        )

    def people(self) -> list[Person]:
        """The people who are enrolled, by name."""
        self._check_open()
        with GalleryRecords(self.path, read_only=True, key=self._key) as records:
            return records.people()

    def remove(self, name: str) -> Removed:
        """Remove a person and all their templates, without confirmation. Raises `NotFound`."""
        self._check_open()
        with GalleryRecords(self.path, key=self._key) as records:
            return remove_person(records, name)

    def encrypt(self, key: Key, *, names: bool = False) -> Rewritten:
        """Encrypt every template of an unencrypted gallery in one transaction, with ``names`` also the names
        of people; nothing of them remains in the clear in its file. Raises as `encrypt_gallery` does."""
        self._check_open()
        done = encrypt_gallery(self.path, as_key(key), names)
        self._key = as_key(key)
        return done

    def rotate_key(self, new: Key) -> Rewritten:
        """Re-encrypt every template with another key, in one transaction. Raises what `rotate_key` raises."""
        self._check_open()
        done = rotate_key(self.path, as_key(new), self._key)
        self._key = as_key(new)
        return done

    def decrypt(self) -> Rewritten:
        """Store every template unencrypted, without confirmation. Raises what `decrypt_gallery` raises."""
        self._check_open()
        done = decrypt_gallery(self.path, self._key)
        self._key = NO_KEY
        return done

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.path}: this gallery is closed", "Open a new Gallery.")


def _given(photos: PhotoLike | Iterable[PhotoLike]) -> list[Given]:
    """The photos and videos of one person, with those in folders. Raises as `as_photo` and `photos_at` do,
    and `UsageError` if there are none."""
    alone = isinstance(photos, str | os.PathLike | bytes | np.ndarray)
    each = [photos] if alone else photos
    given: list[Given] = []
    for number, photo in enumerate(cast(Iterable[PhotoLike], each), start=1):
        if isinstance(photo, str | os.PathLike):
            given += photos_at([Path(photo)])
        elif isinstance(photo, bytes):
            given.append(PhotoInHand(photo, f"photo {number}"))
        else:
            given.append(PhotoInHand(as_photo(photo, f"photo {number}").pixels, f"photo {number}"))
    if not given:
        raise UsageError("no photo was given")
    return given


def _nobody(entry: Enrolled) -> FacekdError:
    """The error to raise if none of a person's photos was enrolled."""
    kind: type[FacekdError] = InputOutput if entry.exit_code == InputOutput.exit_code else CannotSay
    reasons = {failure.reason for failure in entry.failures}
    for known in vars(errors).values():
        if isinstance(known, type) and issubclass(known, FacekdError) and reasons == {known.reason}:
            kind = known
    told = [failure.message for failure in entry.failures[:_NAMED]]
    more = len(entry.failures) - len(told)
    error = kind("; ".join(told) + (f"; and {more} more" if more else ""))
    error.photo = entry.failures[0].photo if len(entry.failures) == 1 else None
    return error
