"""Make and change a card by ``key=value`` settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from facekd.card.contract import Card, EmbeddingSpec, LandmarkCrop, first_fault
from facekd.card.convention import arcface_crop, insightface_card
from facekd.card.graph import graph_shape, run_for_dim
from facekd.errors import UsageError

if TYPE_CHECKING:
    import onnx

#: the settings that a first card must state: the network does not contain them, and a wrong guess misleads
_STATED = ("input.colour", "input.mean", "input.std", "crop")
#: measurements in a space, which are valid in no other
_MEASURED = {"calibration": (), "upper_tail": (), "score_map": None, "photo_limits": None, "similar": None}


def change_card(card: Card, settings: Sequence[str]) -> Card:
    """Apply ``key=value`` settings (dotted keys, JSON or bare-word values) to a card. ``crop=arcface``
    stands for ArcFace's template at the size of the input.

    Thresholds, score map and photo limits are valid in the space in which they were measured: if the
    settings change it, the card loses them. Raises `UsageError` for an unknown key, a value of the wrong
    type, a derived key, or a crop with which no face could be cut.
    """
    data = card.model_dump(mode="json")
    for setting in settings:
        key, value = _read(setting)
        if key in ("digest", "space"):
            raise UsageError(f"--set {key}: it is derived from the network and cannot be set")
        place: Any = data
        *path, last = key.split(".")
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise UsageError(f"--set {key}: no such key in a card")
        place[last] = value
    _name_crop(data)
    try:
        changed = Card.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"the card would not be valid: {first_fault(error)}") from error
    if changed.with_digest(card.digest).space == card.with_digest(card.digest).space:
        return changed
    check_crop(changed)
    return changed.model_copy(update=_MEASURED)


def first_card(model: onnx.ModelProto, name: str, settings: Sequence[str], convention: bool = False) -> Card:
    """The card of a ``model`` that has none, from ``settings`` as in `change_card`; its sizes are the
    network's. ``convention`` takes colour, scale and crop from insightface's convention.

    Raises `UsageError` if one of them is not stated, and as `change_card` does; `Unreadable` if the
    network is not an embedding model.
    """
    stated = {part for setting in settings for part in _parts(*_read(setting))}
    missing = [] if convention else [key for key in _STATED if key not in stated]
    if missing:
        raise UsageError(
            f"{name} has no card, and a first one must state {' and '.join(missing)}",
            "Example: --set input.colour=rgb --set input.mean=127.5 --set input.std=127.5 --set crop=arcface"
            " (ask whoever trained the network). --convention insightface sets all four.",
        )
    card = change_card(insightface_card(model, name), settings)
    check_crop(card)
    return card


def renewed_card(model: onnx.ModelProto, name: str, card: Card, settings: Sequence[str] = ()) -> Card:
    """The ``card`` of another network, adapted to ``model``: input, provenance, licence and
    names are kept; all measurements of the other network are removed.

    Raises as `first_card` does.
    """
    shape = graph_shape(model, name)
    size = shape.size or card.input.size
    kept = card.model_copy(
        update={
            **_MEASURED,
            "digest": "",
            "space": "",
            "compatible_with": (),
            "metrics": {},
            "input": card.input.model_copy(update={"size": size}),
            "embedding": EmbeddingSpec(dim=shape.dim or run_for_dim(model, name, shape, size)),
        }
    )
    renewed = change_card(kept, settings)
    check_crop(renewed)
    return renewed


def check_crop(card: Card) -> None:
    """Raise `UsageError` if the crop of ``card`` does not have the size of its input, or its template does
    not have the shape of a face."""
    crop = card.crop
    if crop.size != card.input.size:
        raise UsageError(f"crop.size is {crop.size} and input.size {card.input.size}: they must be equal")
    if not isinstance(crop, LandmarkCrop):
        return
    (left_eye, right_eye, _, left_mouth, right_mouth) = crop.template
    inside = all(0 <= value <= crop.size for point in crop.template for value in point)
    # fractions of the crop instead of pixels would warp a face into one pixel
    wide = right_eye[0] - left_eye[0] >= crop.size / 10 and right_mouth[0] > left_mouth[0]
    upright = min(left_mouth[1], right_mouth[1]) - max(left_eye[1], right_eye[1]) >= crop.size / 10
    if not (inside and wide and upright):
        raise UsageError(
            f"crop.template does not have the shape of a face in a crop of {crop.size} pixels",
            "Its five points are in pixels of the crop: eye, eye, nose, mouth corner, mouth corner, left in "
            "the image first.",
        )


def _read(setting: str) -> tuple[str, Any]:
    key, separator, text = setting.partition("=")
    if not separator:
        raise UsageError(f"--set {setting}: write KEY=VALUE", "Example: input.colour=bgr")
    try:
        return key, json.loads(text)
    except json.JSONDecodeError:
        return key, text


def _parts(key: str, value: Any) -> list[str]:
    """The keys that a setting states: each key of a whole ``input``; a template is a crop."""
    if key == "input" and isinstance(value, dict):
        return [f"input.{part}" for part in value]
    return ["crop"] if key == "crop.template" else [key]


def _name_crop(data: dict[str, Any]) -> None:
    """Replace the name of ArcFace's template by its points, and set a missing crop size to the input's."""
    side, crop = data["input"].get("size") if isinstance(data["input"], dict) else None, data["crop"]
    if not isinstance(side, int):
        return
    if crop == "arcface":
        data["crop"] = arcface_crop(side).model_dump(mode="json")
    elif isinstance(crop, dict):
        crop.setdefault("size", side)
        if crop.get("template") == "arcface" and isinstance(crop["size"], int):
            crop["template"] = arcface_crop(crop["size"]).model_dump(mode="json")["template"]
