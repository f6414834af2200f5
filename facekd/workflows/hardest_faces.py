"""The faces of the hardest comparisons, for a page."""

from __future__ import annotations

from typing import Any

from facekd.card import ARCFACE_CROP
from facekd.verification.results import Evaluation, ShownPair
from facekd.workflows.photo_acquisition import PhotoSet, crop_photos


def faces_of_hardest(found: Evaluation[Any], detector: str | None) -> dict[str, list[ShownPair]]:
    """The hardest comparisons of each model in ``found``, with their faces, detected again by ``detector``
    (`None` if the data holds aligned crops)."""
    pairs = [(model.name, pair) for model in found.models for pair in model.hardest]
    photos = list(dict.fromkeys(photo for _, pair in pairs for photo in pair.photos))
    acquired = crop_photos(PhotoSet(found.data, detector), photos, [ARCFACE_CROP])
    face = {photo.name: photo.crops.get(ARCFACE_CROP) for photo in acquired}
    shown: dict[str, list[ShownPair]] = {model.name: [] for model in found.models}
    for name, pair in pairs:
        one, other = (face.get(photo) for photo in pair.photos)
        shown[name].append(ShownPair(pair, None if one is None or other is None else (one, other)))
    return shown
