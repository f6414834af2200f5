"""Try the whole chain on synthetic people: detect, align, embed, compare."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from facekd.errors import Exit
from facekd.verification.results import Check, Status
from facekd.workflows.doctor_look import DoctorSettings, if_loaded, taken

if TYPE_CHECKING:
    from facekd.preprocess import Face, Photo

_PEOPLE, _PHOTOS = 2, 2
#: side of a photo in pixels
_SIZE = 200


@dataclass(frozen=True)
class _Found:
    """A synthetic photo with its face, and the number of the person it shows."""

    person: int
    photo: Photo
    face: Face


def look_at_drawn_people(settings: DoctorSettings) -> Iterator[Check]:
    """Detect, align, embed and compare the faces of synthetic people, with every model."""
    found: list[_Found] = []
    yield from taken("self-test", "detect", lambda: _detect(settings, found))
    if len(found) < _PEOPLE * _PHOTOS:
        return
    for _, path in settings.models:
        yield from taken("self-test", path.name, partial(_recognise, path, settings.device, found))


def _detect(settings: DoctorSettings, found: list[_Found]) -> Iterator[Check]:
    from facekd.preprocess import choose, find_faces
    from facekd.preprocess.detectors import make_detector

    detector = if_loaded(partial(make_detector, settings.detector, settings.device))
    if detector is None:
        yield Check("self-test", "detect", Status.NOTE, "not tried: the detector cannot be loaded")
        return
    seconds = []
    for person, photo in _drawn():
        began = time.perf_counter()
        faces = find_faces(photo, detector)
        seconds.append(time.perf_counter() - began)
        found.append(_Found(person, photo, choose(faces, photo.pixels.shape[:2], "best")[0]))
    yield Check(
        "self-test", "detect", Status.OK,
        f"a face in each of {len(found)} synthetic photos of {_SIZE} x {_SIZE} pixels by {detector.name}; "
        f"{_milliseconds(seconds):.1f} ms each",
        values={"photos": len(found), "milliseconds": _milliseconds(seconds)},
    )  # fmt: skip


def _drawn() -> Iterator[tuple[int, Photo]]:
    """Photos of synthetic people, encoded and decoded like any photo."""
    from facekd.preprocess import decode, encode
    from facekd.samples import draw, person, person_seed

    for number in range(_PEOPLE):
        who = person(person_seed(0, number))
        for shot in range(_PHOTOS):
            yield number, decode(encode(draw(who, shot, _SIZE), "png"), f"drawn person {number + 1}")


def _recognise(path: Path, device: str, found: list[_Found]) -> Iterator[Check]:
    import numpy as np

    from facekd.preprocess import cut
    from facekd.runtime import load_embedder
    from facekd.workflows.model_card import MOST_ALIKE

    embedder = if_loaded(partial(load_embedder, path, device, need_card=True))
    if embedder is None:
        yield Check("self-test", path.name, Status.NOTE, "not tried: the model cannot be loaded")
        return
    aligning, embedding, rows = [], [], []
    for one in found:
        began = time.perf_counter()
        crop = cut(one.photo.pixels, one.face, embedder.spec)
        aligned = time.perf_counter()
        rows.append(embedder.embed(crop[None])[0])
        aligning.append(aligned - began)
        embedding.append(time.perf_counter() - aligned)
    scores = np.stack(rows) @ np.stack(rows).T
    people = np.array([one.person for one in found])
    pairs = np.triu(np.ones(scores.shape, bool), 1)
    same = scores[pairs & (people[:, None] == people)]
    different = scores[pairs & (people[:, None] != people)]
    values: dict[str, Any] = {
        "align_milliseconds": _milliseconds(aligning), "embed_milliseconds": _milliseconds(embedding),
        "lowest_same": float(same.min()), "highest_different": float(different.max()),
    }  # fmt: skip
    yield Check(
        "self-test", path.name, Status.OK,
        f"align {_milliseconds(aligning):.1f} ms, embed {_milliseconds(embedding):.1f} ms for a face",
        values=values,
    )  # fmt: skip
    yield _judged(path, same.min(), different.max(), float(np.median(different)) >= MOST_ALIKE)


def _judged(path: Path, same: float, different: float, all_alike: bool) -> Check:
    """Whether synthetic people are told apart; the threshold was measured on photos and does not apply."""
    told = f"scores of one synthetic person from {same:.2f}, of two up to {different:.2f}"
    if all_alike:
        return Check(
            "self-test", path.name, Status.FAULT, f"finds everybody alike: {told}",
            "Its card may state the wrong scale or colour order: "
            f"facekd card {path} --check-on PEOPLE compares them.", Exit.MISFIT,
        )  # fmt: skip
    if same <= different:
        return Check(
            "self-test", path.name, Status.NOTE, f"does not tell synthetic people apart: {told}",
            f"Measure it on photos: facekd calibrate {path} --data PEOPLE, or facekd evaluate.",
        )  # fmt: skip
    return Check("self-test", path.name, Status.OK, f"tells synthetic people apart: {told}")


def _milliseconds(seconds: list[float]) -> float:
    return 1e3 * median(seconds)
