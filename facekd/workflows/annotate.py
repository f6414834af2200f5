"""Annotated photos that show the faces behind an answer, for `facekd.reporting.write_annotation`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facekd.errors import InputOutput
from facekd.preprocess import Face, PhotoLike, as_photo, cut
from facekd.reporting import Annotation, MarkedFace, MarkedPhoto
from facekd.verification.results import IdentifiedFace, IdentifiedPhoto
from facekd.workflows.recognizer import Recognised, Recognizer, Verification


def annotate_verification(
    recognizer: Recognizer,
    decision: Verification,
    photos: Sequence[PhotoLike],
    verdict: str,
    lines: Sequence[str] = (),
) -> Annotation:
    """The annotation of ``decision``, made by ``recognizer`` from ``photos``; ``verdict`` and ``lines`` are
    its text.

    Raises what `as_photo` raises, and `InputOutput` if a photo was changed since.
    """
    marked = []
    for taken, photo in zip(decision.photos, photos, strict=True):
        seen = as_photo(photo, taken.photo)
        if seen.sha256 != taken.sha256:
            raise InputOutput(f"{taken.photo}: the photo was changed in the meantime", "Try again.")
        face = _compared(recognizer, seen.pixels, taken, decision.same)
        marked.append(MarkedPhoto(taken.photo, seen.pixels, (face,)))
    return Annotation(tuple(marked), verdict, (*lines, *_made_with(recognizer)), decision.same)


def annotate_search(
    recognizer: Recognizer, found: IdentifiedPhoto, photo: PhotoLike, lines: Sequence[str] = ()
) -> Annotation:
    """The annotation of a search of ``photo``, with the name and score at each face. Raises what `as_photo`
    raises."""
    pixels = as_photo(photo, found.photo).pixels
    faces = tuple(_searched(recognizer, face, pixels) for face in found.faces)
    names = [face.name for face in found.faces if face.name is not None]
    undecided = any(face.decision == "insufficient" for face in found.faces)
    verdict = "no decision" if undecided else ", ".join(names) or "nobody"
    nearest = [f"{one.score:.4f} {one.name}" for face in found.faces[:1] for one in face.candidates]
    if nearest and len(found.faces) == 1:
        lines = (*lines, f"candidates: {'; '.join(nearest)}")
    matches = None if undecided else bool(names)
    marked = MarkedPhoto(found.photo, pixels, faces)
    return Annotation((marked,), verdict, (*lines, *_made_with(recognizer)), matches)


def _compared(recognizer: Recognizer, pixels: np.ndarray, taken: Recognised, same: bool) -> MarkedFace:
    several = f", 1 of {taken.faces} faces" if taken.faces > 1 else ""
    crop = cut(pixels, taken.face, recognizer.embedder.spec)
    return MarkedFace(
        _box(taken.face), _points(taken.face), f"quality {taken.quality:.2f}{several}", crop, same
    )


def _searched(recognizer: Recognizer, face: IdentifiedFace, pixels: np.ndarray) -> MarkedFace:
    assert face.detected is not None  # every face that was searched for was detected
    said = {"found": face.name or "", "nobody": "nobody", "insufficient": "no decision"}[face.decision]
    label = f"{face.candidates[0].score:.2f} {said}" if face.candidates else said
    crop = cut(pixels, face.detected, recognizer.embedder.spec)
    matches = None if face.decision == "insufficient" else face.decision == "found"
    return MarkedFace(_box(face.detected), _points(face.detected), label, crop, matches)


def _made_with(recognizer: Recognizer) -> tuple[str]:
    return (f"model {recognizer.embedder.name}, detector {recognizer.detector.name}",)


def _box(face: Face) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in face.box)
    return left, top, right, bottom


def _points(face: Face) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in face.landmarks)
