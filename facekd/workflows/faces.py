"""The faces in photos, cut out to be looked at or to be embedded while timing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facekd.card.contract import ARCFACE_CROP, CropSpec
from facekd.errors import CannotSay, InputOutput
from facekd.preprocess import Pixels, cut, decode, find_face, make_detector, open_source, recrop
from facekd.workflows.acquire import finished_crop, locate


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
