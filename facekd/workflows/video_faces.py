"""Find everybody in the frames of a video or a camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from facekd.errors import NoFace, TooLarge
from facekd.preprocess import Frame
from facekd.workflows.face_tracks import FaceTracker, Track
from facekd.workflows.recognizer import Recognizer

#: frames of a track that are fused into its embedding
FRAMES = 5

#: called for each frame
FrameSeen = Callable[[], object]


@dataclass(frozen=True)
class VideoFaces:
    """The ``tracks`` of people in the video ``name``, in order of appearance; ``frames`` frames were
    examined."""

    name: str
    frames: int
    tracks: tuple[Track, ...]


def faces_in(recognizer: Recognizer, name: str, frames: Iterable[Frame], advance: FrameSeen) -> VideoFaces:
    """Everybody in the ``frames``. Raises what reading them raises, and `NoFace` if nobody is found."""
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
