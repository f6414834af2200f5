"""The gallery as Python uses it: enroll people, verify claims, list and remove them."""

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

#: how many of the photos that were not enrolled an error names
_NAMED = 5


@dataclass(frozen=True)
class Removed:
    """Who was removed, and how many ``templates`` went with them. ``pending`` says that another program was
    still reading the gallery: the last bytes leave the file when it has finished."""

    name: str
    templates: int
    pending: bool


def remove_person(records: GalleryRecords, name: str) -> Removed:
    """Remove the person ``name`` and every template of theirs, so that no trace is left in the file.

    Raises `NotFound` where there is nobody of that name, `InputOutput` where the gallery fails.
    """
    person = records.person(name)
    with records.transaction():
        removed = records.remove(person.name)
    return Removed(person.name, removed, records.pending)


class Gallery:
    """Who is enrolled, in one file, or in one database of a PostgreSQL server.

    ``path`` is a file, or a URL ``postgresql://USER@HOST/DATABASE``; by default ``FACEKD_GALLERY``, else
    ``gallery.db`` in the user's data folder. Enrolling makes the file, and the data folder, for their owner
    alone, or the tables in the database. ``recognizer`` is by default that of the student that ships, which
    is loaded when it is needed; the gallery then belongs to its space.

    ``key`` is that of an encrypted gallery: 32 bytes, or the path of the key's file; by default what
    ``FACEKD_GALLERY_KEY_FILE``, ``FACEKD_GALLERY_KEY`` or ``FACEKD_GALLERY_KEY_COMMAND`` say. Where there is
    a key, a gallery that is made is encrypted, and one that is not encrypted is refused.

    Each call opens the file for itself and leaves it closed, so other programs and other threads may use it
    meanwhile, and one `Gallery` may be shared by threads. Leaving a ``with`` block, or `close`, lets go of
    the model that was loaded here.

    With ``audit_reads`` every `verify` and `identify` is noted in the file before it is answered (``facekd
    gallery audit --reads``), and raises `InputOutput` where that cannot be done.

    Every call raises `InputOutput` or `Unreadable` where the file fails, `Misfit` where it was made in
    another space than the recognizer's, `NoKey` or `WrongKey` where it is encrypted, `UsageError` once the
    gallery was closed.
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
        """Let go of the model; what was enrolled is in the file already."""
        self._closed = True
        self._recognizer = None

    @property
    def recognizer(self) -> Recognizer:
        """What photos are recognised with. Raises as `Recognizer` does where it is loaded only now."""
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

        Photos that the person already has are passed over; those that cannot be used, or that the guard
        refuses (`EnrollmentGuard`), are the ``failures`` of the answer, and keep none of the others out.
        ``on_many`` is the policy of `choose` for several faces in a photo, and of `chosen_track` for several
        people in a video; ``force`` overrules the guard.

        Raises, where no photo of theirs is enrolled, what is wrong with all of them (as `NoFace`), else
        `InputOutput` or `CannotSay`; `UsageError` for a name that cannot be, or where no photo is given.
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

        Raises `NotFound` where nobody of that name is enrolled, `UsageError` where no threshold is known, and
        what `Recognizer.recognise` does for the photo.
        """
        recognizer = self.recognizer
        threshold = recognizer.threshold
        with recognizer.open_gallery(self.path, self._key, audit_reads=self.audit_reads) as records:
            return verify_claim(recognizer, records, name, photo, threshold)

    def identify(
        self, photo: PhotoLike, top: int = 5, *, fpir: float = FPIR, all_faces: bool = False
    ) -> IdentifiedPhoto:
        """Who of everybody enrolled ``photo`` shows: the ``top`` candidates, and a decision that keeps the
        false positive identification rate ``fpir`` in this gallery. A threshold that was given to the
        recognizer decides instead.

        Raises what `Recognizer.recognise` does for the photo, `UsageError` for a rate that cannot be.
        """
        recognizer = self.recognizer
        with recognizer.open_gallery(self.path, self._key, audit_reads=self.audit_reads) as records:
            search = open_search(recognizer, records, fpir, recognizer.given_threshold)
            return identify_photo(search, photo, top=top, all_faces=all_faces)

    def identify_video(
        self, video: str | os.PathLike[str], top: int = 5, *, fpir: float = FPIR
    ) -> tuple[IdentifiedPhoto, ...]:
        """As `identify`, of each person in a video file; ``track`` of an answer says when they are seen. One
        answer with a ``failure`` where the video cannot be used."""
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
        """Move the gallery, which another model made, to the recognizer's, by the photos of its people, which
        lie anywhere in ``photos``, a folder or pack; or a copy, ``out``. See `re_embed_gallery`.

        ``moved`` of the answer is `None` where nothing was changed, since people in ``lost`` cannot be moved.
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
        """Everybody who is enrolled, by name."""
        self._check_open()
        with GalleryRecords(self.path, read_only=True, key=self._key) as records:
            return records.people()

    def remove(self, name: str) -> Removed:
        """Remove a person and every template of theirs, without asking. Raises `NotFound`."""
        self._check_open()
        with GalleryRecords(self.path, key=self._key) as records:
            return remove_person(records, name)

    def encrypt(self, key: Key, *, names: bool = False) -> Rewritten:
        """Encrypt every template of a gallery that is not encrypted, in one transaction, and the ``names`` of
        people, if asked; none stays in the clear in its file. Raises as `encrypt_gallery`."""
        self._check_open()
        done = encrypt_gallery(self.path, as_key(key), names)
        self._key = as_key(key)
        return done

    def rotate_key(self, new: Key) -> Rewritten:
        """Encrypt every template by another key, in one transaction. Raises as `rotate_key`."""
        self._check_open()
        done = rotate_key(self.path, as_key(new), self._key)
        self._key = as_key(new)
        return done

    def decrypt(self) -> Rewritten:
        """Store every template in the clear again, without asking. Raises as `decrypt_gallery`."""
        self._check_open()
        done = decrypt_gallery(self.path, self._key)
        self._key = NO_KEY
        return done

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.path}: this gallery is closed", "Open a new Gallery.")


def _given(photos: PhotoLike | Iterable[PhotoLike]) -> list[Given]:
    """The photos and videos of one person, folders opened. Raises as `as_photo` and `photos_at`, and
    `UsageError` where there are none."""
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
    """What to raise where none of a person's photos was enrolled."""
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
