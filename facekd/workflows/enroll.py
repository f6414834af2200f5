"""Enroll people from photos: one transaction per person, one outcome per photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facekd.errors import CannotSay, Exit, FacekdError, InputOutput, UsageError
from facekd.gallery import GalleryRecords, Template, shown
from facekd.geometry import Pixels
from facekd.preprocess import (
    NAMING,
    FolderSource,
    Source,
    digest_of,
    identities_in,
    identity_of,
    open_source,
)
from facekd.workflows.enrollment_guard import EnrollmentGuard, GuardThresholds
from facekd.workflows.recognizer import Recognised, Recognizer


@dataclass(frozen=True)
class PhotoFile:
    """An image in a folder or pack, read when it is needed."""

    source: Source
    name: str

    @property
    def shown(self) -> str:
        """The path for messages; bytes that are not UTF-8 are replaced."""
        return str(self.source.path / self.name).encode("utf-8", "replace").decode()

    def read(self) -> bytes:
        return self.source.read(self.name)


@dataclass(frozen=True)
class PhotoInHand:
    """A photo given as the bytes of an image file, or as pixels; ``shown`` is its name in messages."""

    content: bytes | Pixels
    shown: str

    def read(self) -> bytes | Pixels:
        return self.content


@dataclass(frozen=True)
class RecognisedPhoto:
    """A face that is already recognised, as in a frame of a video; ``shown`` is its name in messages."""

    found: Recognised
    shown: str


@dataclass(frozen=True)
class UnusablePhoto:
    """A photo that is known to be unusable, because of ``error``."""

    shown: str
    error: CannotSay | InputOutput


AnyPhoto = PhotoFile | PhotoInHand | RecognisedPhoto | UnusablePhoto


@dataclass(frozen=True)
class Failure:
    """A photo that was not enrolled; ``reason`` is one word for programs."""

    photo: str
    reason: str
    message: str
    exit_code: Exit


@dataclass(frozen=True)
class PhotoWarning:
    """A warning about a photo that was enrolled anyway."""

    photo: str
    reason: str
    message: str


@dataclass(frozen=True)
class Enrolled:
    """The outcome of one person's photos: ``added`` are new in the gallery, ``present`` were there before,
    ``templates`` are stored now (0: the person is not enrolled).

    ``warnings`` are about added photos, ``forced`` counts those that the guard had refused. ``guard`` holds
    the thresholds of the guard (`None`: it is off, or had nothing to compare with), and ``notes`` its
    limitations.
    """

    name: str
    added: int
    present: int
    templates: int
    failures: tuple[Failure, ...]
    warnings: tuple[PhotoWarning, ...] = ()
    forced: int = 0
    guard: GuardThresholds | None = None
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> Exit:
        """`DONE` if a photo of theirs is in the gallery, otherwise the code that all failures share."""
        if self.added or self.present:
            return Exit.DONE
        return overall([failure.exit_code for failure in self.failures])


#: a photo that the person is already enrolled with
PRESENT: Literal["present"] = "present"
Outcome = Template | Failure | Literal["present"]
Examined = list[tuple[AnyPhoto, Outcome]]


def overall(codes: list[Exit]) -> Exit:
    """`DONE` if all are, otherwise the most serious: `IO`, then `MISFIT`, `CANNOT_SAY`, `USAGE`."""
    return max(codes, default=Exit.DONE)


def photos_at(paths: list[Path]) -> list[PhotoFile]:
    """The photos at ``paths``: files, and all images below folders.

    A file need not exist: reading it fails later. Raises `InputOutput` for a folder without images.
    """
    found: list[PhotoFile] = []
    for path in paths:
        if path.is_dir():
            folder = open_source(path)
            names = folder.names()
            if not names:
                raise InputOutput(f"{path}: no images in this folder")
            found += [PhotoFile(folder, name) for name in names]
        elif path.parent.is_dir():
            found.append(PhotoFile(open_source(path.parent), path.name))
        else:
            raise InputOutput(f"{path}: no such file or folder")
    return found


def people_in(
    path: Path, root: str | None = None, tell: Callable[[str], object] = lambda note: None
) -> dict[str, list[PhotoFile]]:
    """The photos below ``path`` (a folder or a zip pack) by person; see `identities_in` for ``root``.
    ``tell`` receives notes about the folders.

    A subfolder that cannot be listed gives its person one photo that cannot be read, so that the others
    are enrolled. Raises `UsageError` if an image is not in a person's folder, `InputOutput` if there are
    no images.
    """
    source = FolderSource(path, tolerant=True) if path.is_dir() else open_source(path)
    people: dict[str, list[PhotoFile]] = {}
    found = identities_in(source, root)
    if found.note:
        tell(found.note)
    for name, person in found.of.items():
        if person is None:
            raise UsageError(f"{path}: {name} is not in a person's folder", NAMING)
        people.setdefault(person, []).append(PhotoFile(source, name))
    for folder, photo in _unlisted(source):
        person = identity_of(f"{folder}/photo", found.root)
        if person is not None:
            people.setdefault(person, []).append(photo)
    if not people:
        raise InputOutput(f"{path}: contains no images")
    return people


@dataclass(frozen=True)
class _UnlistedFolder:
    """Replaces the photos of a folder that cannot be listed: reading them raises the error."""

    path: Path
    error: InputOutput

    def names(self) -> list[str]:
        return []

    def read(self, name: str) -> bytes:
        raise self.error

    def stamp(self, name: str) -> str:
        raise self.error


def _unlisted(source: Source) -> Iterator[tuple[str, PhotoFile]]:
    """The folders of ``source`` that could not be listed, each with a photo that cannot be read."""
    if isinstance(source, FolderSource):
        for folder, error in source.unlisted.items():
            yield folder, PhotoFile(_UnlistedFolder(source.path, error), folder)


def enroll_people(
    records: GalleryRecords,
    recognizer: Recognizer,
    people: Mapping[str, Sequence[AnyPhoto]],
    on_many: str = "dominant",
    force: bool = False,
    listed_in: str | None = None,
) -> Iterator[Enrolled]:
    """Enroll people one by one, each in a transaction. A person is in the gallery when yielded, and photos
    reported as added survive a crash.

    Photos that a person already has are not processed again, so repeating an interrupted enrollment
    continues it. A photo that cannot be used, that is enrolled under another name, or that the guard
    refuses (`EnrollmentGuard`), is a `Failure` and does not affect the others. ``force`` overrules the
    guard, which the audit records. An invalid name is a `Failure` of its folder, or of the list that it is
    ``listed_in``.

    Raises `InputOutput` if the gallery fails.
    """
    guard = EnrollmentGuard(recognizer.embedder.card, records)
    for name, photos in people.items():
        try:
            stored = records.name_of(name)
        except UsageError as error:
            where = f"{listed_in}: {name}" if listed_in else _folder(name, photos)
            yield Enrolled(where, 0, 0, 0, (Failure(where, "name", error.cause, error.exit_code),))
            continue
        examined = [(photo, _examine(photo, records, recognizer, stored, on_many)) for photo in photos]
        yield _enroll_person(records, guard, stored, examined, force)


def _enroll_person(
    records: GalleryRecords, guard: EnrollmentGuard, name: str, examined: Examined, force: bool
) -> Enrolled:
    """Add the new photos of a person, after checking once more who else is enrolled."""
    added, judged = 0, _Judged(tuple(outcome for _, outcome in examined))
    if any(isinstance(outcome, Template) for _, outcome in examined):
        guard.prepare()
        # from here on no other program writes: two cannot both find that nobody has a photo
        with records.transaction():
            judged = _judge(records, guard, name, examined, force)
            if judged.templates:
                added = records.add(name, judged.templates)
            if judged.forced:
                records.note_forced(name, judged.forced)
        if added:
            guard.update(name)
    present = judged.outcomes.count(PRESENT) + len(judged.templates) - added
    return Enrolled(
        name=name,
        added=added,
        present=present,
        templates=records.person(name).templates if added or present else 0,
        failures=tuple(outcome for outcome in judged.outcomes if isinstance(outcome, Failure)),
        warnings=judged.warnings,
        forced=judged.forced,
        guard=judged.limits,
        notes=judged.notes,
    )


@dataclass(frozen=True)
class _Judged:
    """What to do with each photo, and why."""

    outcomes: tuple[Outcome, ...]
    warnings: tuple[PhotoWarning, ...] = ()
    forced: int = 0
    limits: GuardThresholds | None = None
    notes: tuple[str, ...] = ()

    @property
    def templates(self) -> list[Template]:
        return [outcome for outcome in self.outcomes if isinstance(outcome, Template)]


def _judge(
    records: GalleryRecords, guard: EnrollmentGuard, name: str, examined: Examined, force: bool
) -> _Judged:
    """The outcomes of ``examined`` after the guard: templates that another person has, or that the guard
    refuses, have become failures."""
    known = [(photo, _unless_held(photo, outcome, records, name)) for photo, outcome in examined]
    new = {outcome.photo: outcome for _, outcome in known if isinstance(outcome, Template)}
    if not new or not guard.is_on:
        notes = guard.notes(0) if new else []
        return _Judged(tuple(outcome for _, outcome in known), notes=tuple(notes))
    findings, limits = guard.judge(name, list(new.values()))
    outcomes: list[Outcome] = []
    warnings: dict[str, PhotoWarning] = {}
    for photo, outcome in known:
        finding = findings.get(outcome.photo) if isinstance(outcome, Template) else None
        if isinstance(outcome, Template) and finding is not None:
            message = f"{photo.shown}: {finding.message}"
            if finding.refused and not force:
                outcomes.append(Failure(photo.shown, finding.reason, message, Exit.CANNOT_SAY))
                continue
            warnings.setdefault(outcome.photo, PhotoWarning(photo.shown, finding.reason, message))
        outcomes.append(outcome)
    return _Judged(
        tuple(outcomes),
        tuple(warnings.values()),
        sum(findings[digest].refused for digest in warnings),
        limits,
        tuple(guard.notes(limits.others)),
    )


def _folder(name: str, photos: Sequence[AnyPhoto]) -> str:
    """How to show a person whose folder has an invalid name."""
    first = photos[0]
    return PhotoFile(first.source, name).shown if isinstance(first, PhotoFile) else shown(name)


def _unless_held(photo: AnyPhoto, outcome: Outcome, records: GalleryRecords, name: str) -> Outcome:
    """``outcome``, unless the photo has been enrolled in the meantime."""
    if not isinstance(outcome, Template):
        return outcome
    return _held(photo, outcome.photo, records, name) or outcome


def _held(photo: AnyPhoto, digest: str, records: GalleryRecords, name: str) -> Outcome | None:
    """The outcome of a photo whose file is already enrolled; `None` if it is not."""
    holders = records.holders(digest)
    if name in holders:
        return PRESENT
    if holders:
        message = f"{photo.shown}: already enrolled as '{shown(holders[0])}'"
        return Failure(photo.shown, "other_person", message, Exit.CANNOT_SAY)
    return None


def _examine(
    photo: AnyPhoto, records: GalleryRecords, recognizer: Recognizer, name: str, on_many: str
) -> Outcome:
    """The template of a photo, or the reason why there is none."""
    if isinstance(photo, UnusablePhoto):
        return _failure(photo, photo.error)
    if isinstance(photo, RecognisedPhoto):
        return _held(photo, photo.found.sha256, records, name) or _template(photo.found)
    try:
        data = photo.read()
    except InputOutput as error:
        return _failure(photo, error)
    held = _held(photo, digest_of(data), records, name)
    if held is not None:
        return held
    try:
        found = recognizer.recognise(data, photo.shown, on_many)
    except (CannotSay, InputOutput) as error:
        return _failure(photo, error)
    return _template(found)


def _template(found: Recognised) -> Template:
    return Template(found.embedding, found.sha256, found.quality)


def _failure(photo: AnyPhoto, error: FacekdError) -> Failure:
    return Failure(photo.shown, error.reason, error.cause, error.exit_code)
