"""Enroll and identify the people in a video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekd.errors import CannotSay, InputOutput, NoFace, TooLarge
from facekd.preprocess import PER_SECOND, Frame, read_camera, read_video
from facekd.verification.results import IdentifiedPhoto, SearchFailure, TrackSpan
from facekd.workflows.enroll import AnyPhoto, RecognisedPhoto, UnusablePhoto
from facekd.workflows.face_tracks import FaceTracker, SeenFace, Track, dominant_track
from facekd.workflows.identify import Search, searched
from facekd.workflows.recognizer import Recognizer

#: frames of a track that are taken
FRAMES = 5

Advance = Callable[[], object]


@dataclass(frozen=True)
class VideoFaces:
    """The ``tracks`` of people in the video ``name``, by when they appear, of whose frames ``frames`` were
    looked at."""

    name: str
    frames: int
    tracks: tuple[Track, ...]


@dataclass(frozen=True)
class EnrolledVideo:
    """What is to be enrolled of the video ``name``: the ``photos``, and the faces in them that were
    ``chosen`` from a track of ``faces`` faces beside ``others`` tracks; none where the one photo says why."""

    name: str
    photos: tuple[AnyPhoto, ...]
    chosen: tuple[SeenFace, ...] = ()
    faces: int = 0
    others: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "video": self.name,
            "faces": self.faces,
            "other_tracks": self.others,
            "frames": [
                {"time": round(face.time, 3), "sha256": face.found.sha256, "quality": face.found.quality}
                for face in self.chosen
            ],
        }


def video_to_enroll(
    recognizer: Recognizer, path: Path, count: int = FRAMES, per_second: float = PER_SECOND,
    advance: Advance = lambda: None,
) -> EnrolledVideo:  # fmt: skip
    """Up to ``count`` frames of the person who dominates the video at ``path``. A photo is known again by the
    SHA-256 of the frame's pixels (`digest_of`), so the same video gives the same photos.

    A video that cannot be used gives one photo that cannot be: so the other photos are enrolled.
    """
    name = _shown(path)
    try:
        seen = _faces(recognizer, name, read_video(path, per_second), advance)
        track = _dominant(seen)
    except (CannotSay, InputOutput) as error:
        return EnrolledVideo(name, (UnusablePhoto(name, error),))
    chosen = tuple(track.best(count))
    photos = tuple(RecognisedPhoto(face.found, f"{name} at {face.time:.2f} s") for face in chosen)
    return EnrolledVideo(name, photos, chosen, len(track.faces), len(seen.tracks) - 1)


def identify_video(
    search: Search, path: Path, *, top: int = 5, per_second: float = PER_SECOND,
    advance: Advance = lambda: None,
) -> tuple[IdentifiedPhoto, ...]:  # fmt: skip
    """Search for each person in the video at ``path``: an answer for each track, or one that says why there
    is none. Raises `InputOutput` where the records audit reads and these cannot be noted."""
    return _identified(search, _shown(path), read_video(path, per_second), top, advance)


def identify_camera(
    search: Search, number: int, seconds: float, *, top: int = 5, per_second: float = PER_SECOND,
    advance: Advance = lambda: None,
) -> tuple[IdentifiedPhoto, ...]:  # fmt: skip
    """As `identify_video`, of what a camera sees for so many ``seconds``."""
    frames = read_camera(number, seconds, per_second)
    return _identified(search, f"camera {number}", frames, top, advance)


def _identified(
    search: Search, name: str, frames: Iterable[Frame], top: int, advance: Advance
) -> tuple[IdentifiedPhoto, ...]:
    answers = _searched_video(search, name, frames, top, advance)
    search.audit.note_searches(answers)
    return answers


def _searched_video(
    search: Search, name: str, frames: Iterable[Frame], top: int, advance: Advance
) -> tuple[IdentifiedPhoto, ...]:
    try:
        seen = _faces(search.recognizer, name, frames, advance)
    except (CannotSay, InputOutput) as error:
        failure = SearchFailure(error.reason, error.cause, error.fix, error.exit_code)
        return (IdentifiedPhoto(name, search.threshold, failure=failure, searched_by=search.engine),)
    return tuple(
        IdentifiedPhoto(
            name,
            search.threshold,
            (searched(search, track.fused(FRAMES), top),),
            notes=search.notes,
            track=TrackSpan(number, track.first, track.last, len(track.faces), len(track.best(FRAMES))),
            searched_by=search.engine,
        )
        for number, track in enumerate(seen.tracks, start=1)
    )


def _faces(recognizer: Recognizer, name: str, frames: Iterable[Frame], advance: Advance) -> VideoFaces:
    """Everybody in the ``frames``. Raises what they do, and `NoFace` where there is nobody."""
    tracker = FaceTracker(recognizer.embedder.card)
    refused: Counter[str] = Counter()
    count = 0
    for frame in frames:
        count += 1
        usable, faults = recognizer.recognise_usable(frame.pixels, f"{name} at {frame.time:.2f} s")
        try:
            tracker.add(frame.time, usable)
        except TooLarge as error:
            raise TooLarge(f"{name}: {error.cause}") from None
        refused.update(fault.reason for fault in faults)
        advance()
    if not tracker.tracks:
        told = ", ".join(f"{number} {reason}" for reason, number in refused.most_common())
        raise NoFace(f"{name}: no usable face in {count} frames ({told})")
    return VideoFaces(name, count, tuple(tracker.tracks))


def _dominant(seen: VideoFaces) -> Track:
    try:
        return dominant_track(seen.tracks)
    except CannotSay as error:
        raise type(error)(f"{seen.name}: {error.cause}") from None


def _shown(path: Path) -> str:
    """The path for messages; bytes that are not UTF-8 are replaced."""
    return str(path).encode("utf-8", "replace").decode()
