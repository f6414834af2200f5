"""Tracks: the faces in the frames of a video, grouped by person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from facekd.card import Card
from facekd.errors import SeveralFaces, TooLarge
from facekd.preprocess import DOMINANCE
from facekd.runtime import fuse
from facekd.workflows.enrollment_guard import OWN_FMR, threshold_at
from facekd.workflows.recognizer import Recognised

#: lowest intersection over union at which two boxes in successive frames show the same face, unless the
#: embeddings contradict
OVERLAP = 0.3
#: most faces, over all frames, that are tracked in one video
MAX_FACES = 50_000
#: seconds that a face may be missing and still be recognised by its place
GAP = 1.0


@dataclass(frozen=True)
class SeenFace:
    """A face at ``time``, in seconds from the beginning of the video."""

    time: float
    found: Recognised


@dataclass
class Track:
    """The faces of one person, in order of time; never empty."""

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
        """How much of the video the track fills: the sum of the areas of its faces."""
        return sum(face.found.face.area for face in self.faces)

    @property
    def direction(self) -> NDArray[np.float32]:
        """The mean of its embeddings [D], of unit length."""
        return fuse([self._sum])

    def add(self, face: SeenFace) -> None:
        self.faces.append(face)
        self._sum = self._sum + face.found.embedding

    def best(self, count: int) -> list[SeenFace]:
        """Up to ``count`` faces of good quality from the whole track, in order of time, each frame once.

        The better half of the faces is divided into parts of equal number; each part contributes its best.
        """
        order = {face.found.sha256: face for face in self.faces}
        ranked = sorted(order.values(), key=lambda face: -face.found.quality)
        kept = ranked[: max(count, (len(ranked) + 1) // 2)]
        kept.sort(key=lambda face: face.time)
        edges = np.linspace(0, len(kept), min(count, len(kept)) + 1).round().astype(int).tolist()
        parts = [kept[start:end] for start, end in pairwise(edges)]
        return [max(part, key=lambda face: face.found.quality) for part in parts]

    def fused(self, count: int) -> Recognised:
        """The face of the highest quality, with the fused embedding of the ``count`` `best` faces."""
        faces = self.best(count)
        clearest = max(faces, key=lambda face: face.found.quality).found
        return replace(clearest, embedding=fuse([face.found.embedding for face in faces]))


class FaceTracker:
    """Assigns the faces of one frame after the other to ``tracks``.

    A face belongs to a track that was in the same place just before (`OVERLAP`, `GAP`), unless the card's
    threshold at `OWN_FMR` indicates another person; wherever it is, it belongs to a track if the card's
    threshold for verification indicates the same person. The thresholds apply to the mean of a track as to
    a person's templates. Without calibration only the places are used.
    """

    def __init__(self, card: Card) -> None:
        self.tracks: list[Track] = []
        self._directions: list[NDArray[np.float32]] = []
        self._faces = 0
        self._unlike = threshold_at(card, OWN_FMR)
        strictest = card.at()
        self._same = strictest.threshold if strictest else None

    def add(self, time: float, faces: Sequence[Recognised]) -> None:
        """Assign the ``faces`` of the frame at ``time`` seconds: each gets one track, and each track at most
        one of them. Raises `TooLarge` above `MAX_FACES`."""
        self._faces += len(faces)
        if self._faces > MAX_FACES:
            raise TooLarge(f"more than {MAX_FACES:,} faces in all")
        taken: dict[int, int] = {}
        for _, place, number in sorted(self._links(time, faces), reverse=True):
            if place not in taken and number not in taken.values():
                taken[place] = number
        for place, face in enumerate(faces):
            seen = SeenFace(time, face)
            if place in taken:
                track = self.tracks[taken[place]]
                track.add(seen)
                self._directions[taken[place]] = track.direction
            else:
                self.tracks.append(Track([seen]))
                self._directions.append(face.embedding)

    def _links(self, time: float, faces: Sequence[Recognised]) -> Iterator[tuple[float, int, int]]:
        """Which faces may belong to which tracks: yields weight, index of the face, index of the track."""
        if not self.tracks or not faces:
            return
        cosines = np.stack([face.embedding for face in faces]) @ np.stack(self._directions).T
        like = cosines >= (np.inf if self._same is None else self._same)
        recent = [number for number, track in enumerate(self.tracks) if time - track.last <= GAP]
        for place, face in enumerate(faces):
            overlaps = {
                number: overlap_of(self.tracks[number].faces[-1].found.face.box, face.face.box)
                for number in recent
            }
            near = {
                number
                for number, overlap in overlaps.items()
                if overlap >= OVERLAP and (self._unlike is None or cosines[place, number] >= self._unlike)
            }
            for number in near | set(np.flatnonzero(like[place]).tolist()):
                yield overlaps.get(number, 0.0) + float(cosines[place, number]), place, number


def chosen_track(tracks: Sequence[Track], on_many: str = "dominant") -> Track:
    """The track with the largest `weight`. Under the policy "dominant" its weight must be at least
    `DOMINANCE` times that of any other, under "skip" it must be the only one, or `SeveralFaces` is raised;
    the other policies of `choose` that select one face accept it in any case."""
    first, *others = sorted(tracks, key=lambda track: -track.weight)
    if others and on_many == "skip":
        raise SeveralFaces(f"{len(tracks)} faces were tracked, but only one is accepted")
    if others and on_many == "dominant" and first.weight < DOMINANCE * others[0].weight:
        raise SeveralFaces(f"{len(tracks)} faces were tracked, and none clearly dominates")
    return first


def overlap_of(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    areas = sum(float(np.prod(np.maximum(box[2:] - box[:2], 0))) for box in (one, other))
    return common / (areas - common) if common else 0.0
