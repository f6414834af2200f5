"""Enroll people from photos: each person in one transaction, each photo accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from facekd.errors import CannotSay, Exit, FacekdError, InputOutput, UsageError
from facekd.gallery import GalleryRecords, Template, clean_name
from facekd.preprocess import NAMING, Source, identities_in, open_source
from facekd.workflows.recognizer import Recognizer


@dataclass(frozen=True)
class PhotoFile:
    """An image in a folder or pack, read when its turn comes."""

    source: Source
    name: str

    @property
    def shown(self) -> str:
        """The path for messages; bytes that are not UTF-8 are replaced."""
        return str(self.source.path / self.name).encode("utf-8", "replace").decode()

    def read(self) -> bytes:
        return self.source.read(self.name)


@dataclass(frozen=True)
class Failure:
    """A photo that was not enrolled: ``reason`` is one word for machines."""

    photo: str
    reason: str
    message: str
    exit_code: Exit


@dataclass(frozen=True)
class Enrolled:
    """What became of one person's photos: ``added`` are new in the gallery, ``present`` were
    there before, ``templates`` are held now (0: the person is not enrolled)."""

    name: str
    added: int
    present: int
    templates: int
    failures: tuple[Failure, ...]

    @property
    def exit_code(self) -> Exit:
        """`DONE` if a photo of theirs is in the gallery; else what all failures have in common."""
        if self.added or self.present:
            return Exit.DONE
        return overall([failure.exit_code for failure in self.failures])


def overall(codes: list[Exit]) -> Exit:
    """`DONE` if all are; the code of what failed where that is one, else `CANNOT_SAY`."""
    failed = set(codes) - {Exit.DONE}
    if not failed:
        return Exit.DONE
    return failed.pop() if len(failed) == 1 else Exit.CANNOT_SAY


def photos_at(paths: list[Path]) -> list[PhotoFile]:
    """The photos that ``paths`` name, files as they are and folders with all images below.

    A file need not exist: that shows when it is read. Raises `InputOutput` where a folder has no
    images.
    """
    found: list[PhotoFile] = []
    for path in paths:
        if path.is_dir():
            folder = open_source(path)
            names = folder.names()
            if not names:
                raise InputOutput(f"{path}: no image in this folder")
            found += [PhotoFile(folder, name) for name in names]
        elif path.parent.is_dir():
            found.append(PhotoFile(open_source(path.parent), path.name))
        else:
            raise InputOutput(f"{path}: no such file or folder")
    return found


def people_in(
    path: Path, root: str | None = None, tell: Callable[[str], object] = lambda note: None
) -> dict[str, list[PhotoFile]]:
    """The photos below ``path`` (a folder or a zip pack) by whose they are (`identities_in`, which says
    what ``root`` is); ``tell`` is given what there is to say of it.

    Raises `UsageError` where an image lies in no person's folder, `InputOutput` where there are
    none.
    """
    source = open_source(path)
    people: dict[str, list[PhotoFile]] = {}
    found = identities_in(source, root)
    if found.note:
        tell(found.note)
    for name, person in found.of.items():
        if person is None:
            raise UsageError(f"{path}: {name} lies in no person's folder", NAMING)
        people.setdefault(person, []).append(PhotoFile(source, name))
    if not people:
        raise InputOutput(f"{path}: no images")
    return people


def enroll_person(
    records: GalleryRecords,
    recognizer: Recognizer,
    name: str,
    photos: list[PhotoFile],
    on_many: str = "skip",
) -> Enrolled:
    """Enroll every usable photo of one person, in one transaction.

    Photos that the person already has are not looked at again, so an enrolment that was cut short
    is continued by repeating it. A photo that cannot be used, or that is enrolled under another
    name, is a `Failure` and keeps none of the others out. When this returns, what it reports as
    added survives a crash.

    Raises `UsageError` for the name, and `InputOutput` where the gallery fails.
    """
    name = clean_name(name)
    outcomes = [_examine(photo, records, recognizer, name, on_many) for photo in photos]
    templates = [outcome for outcome in outcomes if isinstance(outcome, Template)]
    added = 0
    if templates:
        with records.transaction():
            added = records.add(name, templates)
    present = outcomes.count(None) + len(templates) - added
    return Enrolled(
        name=name,
        added=added,
        present=present,
        templates=records.person(name).templates if added or present else 0,
        failures=tuple(outcome for outcome in outcomes if isinstance(outcome, Failure)),
    )


def enroll_people(
    records: GalleryRecords,
    recognizer: Recognizer,
    people: dict[str, list[PhotoFile]],
    on_many: str = "skip",
) -> Iterator[Enrolled]:
    """`enroll_person` for one after the other; each is in the gallery when it is yielded. A
    folder whose name cannot be a person's is a `Failure`."""
    for name, photos in people.items():
        try:
            yield enroll_person(records, recognizer, name, photos, on_many)
        except UsageError as error:
            folder = PhotoFile(photos[0].source, name)
            yield Enrolled(folder.shown, 0, 0, 0, (_failure(folder, error, "name"),))


def _examine(
    photo: PhotoFile, records: GalleryRecords, recognizer: Recognizer, name: str, on_many: str
) -> Template | Failure | None:
    """What to enroll of a photo, or why nothing; `None` where the person has it already."""
    try:
        data = photo.read()
    except InputOutput as error:
        return _failure(photo, error, error.reason)
    holders = records.holders(hashlib.sha256(data).hexdigest())
    if name in holders:
        return None
    if holders:
        return Failure(
            photo.shown,
            "other_person",
            f"{photo.shown}: already enrolled as '{holders[0]}'",
            Exit.CANNOT_SAY,
        )
    try:
        found = recognizer.recognise(data, photo.shown, on_many)
    except (CannotSay, InputOutput) as error:
        return _failure(photo, error, error.reason)
    return Template(found.embedding, found.sha256, found.quality)


def _failure(photo: PhotoFile, error: FacekdError, reason: str) -> Failure:
    return Failure(photo.shown, reason, error.cause, error.exit_code)
