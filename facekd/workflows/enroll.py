"""Enroll people from photos and videos: each person in one transaction, each photo accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from facekd.errors import CannotSay, Exit, FacekdError, InputOutput, UsageError
from facekd.gallery import GalleryRecords, Template, shown
from facekd.preprocess import digest_of
from facekd.workflows.enrollment_guard import EnrollmentGuard, GuardThresholds
from facekd.workflows.photos_given import (
    AnyPhoto,
    CameraView,
    Given,
    PhotoFile,
    RecognisedPhoto,
    UnusablePhoto,
    VideoFile,
)
from facekd.workflows.recognizer import Recognised, Recognizer
from facekd.workflows.video_enrollment import EnrolledVideo, VideoSettings, video_to_enroll


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

    ``warnings`` are about photos that were added, ``forced`` of them against the guard. ``guard`` holds the
    thresholds that it took (`None`: it is off, or had nothing to compare) and ``notes`` what it cannot do.
    ``videos`` states what was taken from each video; its frames count as photos.
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
    videos: tuple[EnrolledVideo, ...] = ()

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


_AS_USUAL = VideoSettings()


def enroll_people(
    records: GalleryRecords,
    recognizer: Recognizer,
    people: Mapping[str, Sequence[Given]],
    on_many: str = "dominant",
    force: bool = False,
    listed_in: str | None = None,
    videos: VideoSettings = _AS_USUAL,
) -> Iterator[Enrolled]:
    """Enroll people one by one, each in a transaction. A person is in the gallery when yielded, and photos
    reported as added survive a crash.

    Photos that a person already has are skipped, so repeating an interrupted enrollment continues it. The
    photos of a video are the frames that `video_to_enroll` selects. A photo that cannot be used, that is
    enrolled under another name, or that the guard refuses (`EnrollmentGuard`), is a `Failure`; the others are
    enrolled all the same. ``force`` overrides the guard, which the audit records. An invalid name is a
    `Failure` of the person's folder, or of the list ``listed_in``.

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
        seen = [_looked_at(one, recognizer, on_many, videos) for one in photos]
        each = [photo for one in seen for photo in (one.photos if isinstance(one, EnrolledVideo) else (one,))]
        examined = [(photo, _examine(photo, records, recognizer, stored, on_many)) for photo in each]
        entry = _enroll_person(records, guard, stored, examined, force)
        yield replace(entry, videos=tuple(one for one in seen if isinstance(one, EnrolledVideo)))


def _looked_at(
    one: Given, recognizer: Recognizer, on_many: str, videos: VideoSettings
) -> AnyPhoto | EnrolledVideo:
    """The frames selected from a video or a camera; a photo is returned as it is, and read later."""
    if isinstance(one, VideoFile | CameraView):
        return video_to_enroll(recognizer, one, on_many, videos)
    return one


def _enroll_person(
    records: GalleryRecords, guard: EnrollmentGuard, name: str, examined: Examined, force: bool
) -> Enrolled:
    """Add the new photos of a person, after checking once more who else is enrolled."""
    added, judged = 0, _Judged(tuple(outcome for _, outcome in examined))
    if any(isinstance(outcome, Template) for _, outcome in examined):
        guard.prepare()
        if not records.is_made:
            judged = _judge(records, guard, name, examined, force)
        # no gallery is made for photos that are refused
        if records.is_made or judged.templates:
            # from here on nobody else writes: two programs cannot both find that a photo is not enrolled
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


def _folder(name: str, photos: Sequence[Given]) -> str:
    """How messages name a person whose folder has an invalid name."""
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
