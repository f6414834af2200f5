"""The faces in photos, cut out to be looked at or to be embedded while timing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facekd.card import ARCFACE_CROP, CropSpec
from facekd.errors import CannotSay, InputOutput
from facekd.geometry import Pixels, recrop
from facekd.preprocess import cut, decode, find_face, open_source
from facekd.preprocess.detectors import make_detector
from facekd.verification.results import Evaluation, ShownPair
from facekd.workflows.photo_embeddings import finished_crop, locate


def faces_of(
    data: Path,
    detector: str | None,
    photos: Sequence[str],
    specs: Sequence[CropSpec],
    most: int | None = None,
) -> list[list[Pixels] | None]:
    """For each of ``photos`` in ``data`` its face cut by each of ``specs``, `None` where there is none;
    it stops once ``most`` were found. ``detector`` `None` takes the images for 112-pixel ArcFace crops.
    """
    source = open_source(data)
    finder = make_detector(detector) if detector else None
    faces: list[list[Pixels] | None] = []
    for name in locate(photos, source.names()):
        if most is not None and sum(face is not None for face in faces) == most:
            break
        try:
            photo = decode(source.read(name), name) if name else None
            if photo is None:
                faces.append(None)
            elif finder is None:
                crop = finished_crop(photo.pixels, name or "")
                faces.append([recrop(crop[None], ARCFACE_CROP, spec)[0] for spec in specs])
            else:
                face = find_face(photo, finder)
                faces.append([cut(photo.pixels, face, spec) for spec in specs])
        except (CannotSay, InputOutput):
            faces.append(None)
    return faces


def faces_of_hardest(found: Evaluation[Any], detector: str | None) -> dict[str, list[ShownPair]]:
    """The hardest comparisons of each model of ``found``, with the faces found again by ``detector``
    (`None` where the data holds aligned crops)."""
    pairs = [(model.name, pair) for model in found.models for pair in model.hardest]
    photos = list(dict.fromkeys(photo for _, pair in pairs for photo in pair.photos))
    faces = faces_of(found.data, detector, photos, [ARCFACE_CROP])
    face = {photo: cut[0] for photo, cut in zip(photos, faces, strict=True) if cut}
    shown: dict[str, list[ShownPair]] = {model.name: [] for model in found.models}
    for name, pair in pairs:
        one, other = (face.get(photo) for photo in pair.photos)
        shown[name].append(ShownPair(pair, None if one is None or other is None else (one, other)))
    return shown
