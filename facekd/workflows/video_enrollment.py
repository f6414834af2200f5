"""Select what to enroll from a video or a camera: the best frames of one person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from facekd.errors import CannotSay, InputOutput
from facekd.preprocess import PER_SECOND, Frame, read_camera, read_video
from facekd.workflows.face_tracks import SeenFace, Track, chosen_track
from facekd.workflows.photos_given import AnyPhoto, CameraView, Film, RecognisedPhoto, UnusablePhoto
from facekd.workflows.recognizer import Recognizer
from facekd.workflows.video_faces import FRAMES, FrameSeen, faces_in

#: takes the name of a video; the context returns the function to call for each of its frames
Watch = Callable[[str], AbstractContextManager[FrameSeen]]


def _unwatched(name: str) -> AbstractContextManager[FrameSeen]:
    return nullcontext(lambda: None)


@dataclass(frozen=True)
class VideoSettings:
    """``per_second`` frames of each video are examined, and up to ``frames`` of them are enrolled."""

    frames: int = FRAMES
    per_second: float = PER_SECOND
    watch: Watch = _unwatched


@dataclass(frozen=True)
class EnrolledVideo:
    """What to enroll from the video ``name``: ``photos``, which show the faces ``chosen`` from a track of
    ``faces`` faces, beside ``others`` tracks. If nothing is chosen, the only photo is one that states why."""

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
    recognizer: Recognizer, film: Film, on_many: str, settings: VideoSettings
) -> EnrolledVideo:
    """The frames to enroll of the person in ``film`` whom the policy ``on_many`` selects (`chosen_track`). A
    photo is identified by the SHA-256 of the frame's pixels (`digest_of`), so the same video yields the same
    photos.

    A video that cannot be used yields one photo that cannot be used, so that the other photos are enrolled.
    """
    name = film.shown
    try:
        with settings.watch(name) as advance:
            seen = faces_in(recognizer, name, _frames(film, settings.per_second), advance)
        track = _chosen(seen.name, seen.tracks, on_many)
    except (CannotSay, InputOutput) as error:
        return EnrolledVideo(name, (UnusablePhoto(name, error),))
    chosen = tuple(track.best(settings.frames))
    photos = tuple(RecognisedPhoto(face.found, f"{name} at {face.time:.2f} s") for face in chosen)
    return EnrolledVideo(name, photos, chosen, len(track.faces), len(seen.tracks) - 1)


def _frames(film: Film, per_second: float) -> Iterator[Frame]:
    if isinstance(film, CameraView):
        return read_camera(film.number, film.seconds, per_second)
    return read_video(film.path, per_second)


def _chosen(name: str, tracks: tuple[Track, ...], on_many: str) -> Track:
    try:
        return chosen_track(tracks, on_many)
    except CannotSay as error:
        raise type(error)(f"{name}: {error.cause}") from None
