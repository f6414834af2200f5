"""The faces of a video's frames, put together by whose they are: tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from facekd.card import Card
from facekd.errors import SeveralFaces
from facekd.preprocess import DOMINANCE
from facekd.runtime import fuse
from facekd.workflows.enrollment_guard import OWN_FMR, threshold_at
from facekd.workflows.recognizer import Recognised

#: intersection over union of two boxes from which they are the same face a moment later, if the embeddings do
#: not speak against it
OVERLAP = 0.3
#: seconds for which a face may be out of sight and still be known by its place
GAP = 1.0


@dataclass(frozen=True)
class SeenFace:
    """A face at ``time``, in seconds from the beginning of the video."""

    time: float
    found: Recognised


@dataclass
class Track:
    """The faces of one person, in their order; never empty."""

    faces: list[SeenFace]
    _sum: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self._sum = np.sum([face.found.embedding for face in self.faces], axis=0)

    @property
    def first(self) -> float:
        return self.faces[0].time

    @property
    def last(self) -> float:
        return self.faces[-1].time

    @property
    def weight(self) -> float:
        """How much of the video it takes up: the areas of its faces, added."""
        return sum(face.found.face.area for face in self.faces)

    def add(self, face: SeenFace) -> None:
        self.faces.append(face)
        self._sum = self._sum + face.found.embedding

    def cosine(self, embedding: NDArray[np.float32]) -> float:
        """Of an embedding with the direction of the mean."""
        return float(fuse([self._sum]) @ embedding)

    def best(self, count: int) -> list[SeenFace]:
        """Up to ``count`` faces of good quality from all of its time, in their order, no picture twice.

        Of the better half of the faces, in as many parts of equal number, the best of each part.
        """
        order = {face.found.sha256: face for face in self.faces}
        ranked = sorted(order.values(), key=lambda face: -face.found.quality)
        kept = ranked[: max(count, (len(ranked) + 1) // 2)]
        kept.sort(key=lambda face: face.time)
        edges = np.linspace(0, len(kept), min(count, len(kept)) + 1).round().astype(int).tolist()
        parts = [kept[start:end] for start, end in pairwise(edges)]
        return [max(part, key=lambda face: face.found.quality) for part in parts]

    def fused(self, count: int) -> Recognised:
        """The best of its faces with the embedding that the ``count`` `best` have together."""
        faces = self.best(count)
        clearest = max(faces, key=lambda face: face.found.quality).found
        return replace(clearest, embedding=fuse([face.found.embedding for face in faces]))


class FaceTracker:
    """Puts the faces of one frame after the other into ``tracks``.

    A face belongs to a track where it was a moment ago (`OVERLAP`, `GAP`), unless the card's threshold of
    `OWN_FMR` says that it is another person; and wherever it is, if the card's threshold for verifying says
    that it is the same. The thresholds hold for the mean of a track as for a person's templates. Of a model
    that is not calibrated only the places are known.
    """

    def __init__(self, card: Card) -> None:
        self.tracks: list[Track] = []
        self._unlike = threshold_at(card, OWN_FMR)
        strictest = card.at()
        self._same = strictest.threshold if strictest else None

    def add(self, time: float, faces: Sequence[Recognised]) -> None:
        """The ``faces`` of the frame at ``time``: each goes to one track, and each track gets one of them."""
        links = [
            (strength, place, number)
            for place, face in enumerate(faces)
            for number, track in enumerate(self.tracks)
            if (strength := self._strength(track, time, face)) is not None
        ]
        taken: dict[int, int] = {}
        for _, place, number in sorted(links, reverse=True):
            if place not in taken and number not in taken.values():
                taken[place] = number
        for place, face in enumerate(faces):
            seen = SeenFace(time, face)
            if place in taken:
                self.tracks[taken[place]].add(seen)
            else:
                self.tracks.append(Track([seen]))

    def _strength(self, track: Track, time: float, face: Recognised) -> float | None:
        """How much speaks for ``face`` being that of ``track``; `None` where not enough does."""
        cosine = track.cosine(face.embedding)
        overlap = 0.0
        if time - track.last <= GAP:
            overlap = overlap_of(track.faces[-1].found.face.box, face.face.box)
        near = overlap >= OVERLAP and (self._unlike is None or cosine >= self._unlike)
        like = self._same is not None and cosine >= self._same
        return overlap + cosine if near or like else None


def dominant_track(tracks: Sequence[Track]) -> Track:
    """The track that takes up `DOMINANCE` times as much of the video as any other. Raises `SeveralFaces`
    where none does."""
    first, *others = sorted(tracks, key=lambda track: -track.weight)
    if others and first.weight < DOMINANCE * others[0].weight:
        raise SeveralFaces(f"{len(tracks)} faces were followed, and none clearly dominates")
    return first


def overlap_of(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    areas = sum(float(np.prod(np.maximum(box[2:] - box[:2], 0))) for box in (one, other))
    return common / (areas - common) if common else 0.0
