"""Identify the people in a video."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from facekd.errors import CannotSay, InputOutput
from facekd.preprocess import PER_SECOND, Frame, read_camera, read_video
from facekd.verification.results import IdentifiedPhoto, SearchFailure, TrackSpan
from facekd.workflows.identify import Search, searched
from facekd.workflows.photos_given import as_text
from facekd.workflows.video_faces import FRAMES, FrameSeen, faces_in


def identify_video(
    search: Search, path: Path, *, top: int = 5, per_second: float = PER_SECOND, name: str = "",
    advance: FrameSeen = lambda: None,
) -> tuple[IdentifiedPhoto, ...]:  # fmt: skip
    """Search for each person in the video at ``path``: an answer for each track, or one that states why there
    is none. ``name`` is the video's name in answers, by default its path. Raises `InputOutput` if the records
    audit reads and these cannot be recorded."""
    return _identified(search, name or as_text(path), read_video(path, per_second), top, advance)


def identify_camera(
    search: Search, number: int, seconds: float, *, top: int = 5, per_second: float = PER_SECOND,
    advance: FrameSeen = lambda: None,
) -> tuple[IdentifiedPhoto, ...]:  # fmt: skip
    """As `identify_video`, for what a camera sees in ``seconds``."""
    frames = read_camera(number, seconds, per_second)
    return _identified(search, f"camera {number}", frames, top, advance)


def _identified(
    search: Search, name: str, frames: Iterable[Frame], top: int, advance: FrameSeen
) -> tuple[IdentifiedPhoto, ...]:
    answers = _searched_video(search, name, frames, top, advance)
    search.audit.note_searches(answers)
    return answers


def _searched_video(
    search: Search, name: str, frames: Iterable[Frame], top: int, advance: FrameSeen
) -> tuple[IdentifiedPhoto, ...]:
    try:
        seen = faces_in(search.recognizer, name, frames, advance)
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
