"""The card in an ONNX file: JSON under a metadata key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from facekd.card.contract import Card, first_fault
from facekd.card.convention import insightface_card
from facekd.card.digest import network_digest
from facekd.card.graph import graph_shape
from facekd.errors import InputOutput, Misfit, NoCard, Unreadable
from facekd.files import read_bounded, write_atomically

if TYPE_CHECKING:
    import onnx

METADATA_KEY = "facekd.card"
#: the fix if a model does not exist
MODELS_COME_FROM = (
    "'facekd export RUN' writes one from a run of 'facekd distill'; any other ONNX embedding model can be "
    "used once 'facekd card FILE --set ...' has stated its input."
)
#: bytes of the largest model that is read; a protobuf message cannot be larger
MAX_MODEL_BYTES = 2**31 - 1


def load_onnx(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Read an ONNX file, or say in one line what is wrong with it.

    Raises `InputOutput` if it does not exist or cannot be read, `Unreadable` if it is not a model.
    """
    import onnx

    path = Path(path)
    if not path.exists():
        raise InputOutput(f"{path}: no such model file", MODELS_COME_FROM)
    content = read_bounded(path, MAX_MODEL_BYTES)
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise Unreadable(f"{path}: not a usable ONNX model ({first[0]})") from error
    return model


def card_of(model: onnx.ModelProto, name: str) -> tuple[Card, bool]:
    """The card of ``model``, and whether it was stored there.

    Without one, insightface's convention is used: 112 x 112 RGB on the ArcFace template,
    (x - 127.5) / 127.5, or raw pixels if the graph itself begins with Sub and Mul. Raises `Unreadable` for a
    card with the digest of another network, and for a network
    without square crops or embeddings; `Misfit` if its sizes are not those of the card.
    """
    digest = network_digest(model)
    card = stored_card(model, name)
    if card is None:
        return insightface_card(model, name).with_digest(digest), False
    if card.digest != digest or card.with_digest(digest).space != card.space:
        raise Unreadable(
            f"{name}: the card does not match this network",
            "The file was changed after its card was written. Write a new card, without the earlier "
            "measurements: facekd card FILE --renew",
        )
    shape = graph_shape(model, name)
    for what, stated, there in (
        ("crops of", card.input.size, shape.size),
        ("embeddings of", card.embedding.dim, shape.dim),
    ):
        if there is not None and there != stated:
            raise Misfit(f"{name}: the card states {what} {stated}, but the network has {what} {there}")
    return card, True


def stored_card(model: onnx.ModelProto, name: str) -> Card | None:
    """The card stored in ``model``, whether or not it matches the network; `None` without one.
    Raises `Unreadable` if it is not a card."""
    raw = next((p.value for p in model.metadata_props if p.key == METADATA_KEY), None)
    if raw is None:
        return None
    try:
        return Card.model_validate_json(raw)
    except ValidationError as error:
        raise Unreadable(f"{name}: its card cannot be read: {first_fault(error)}") from error


def read_card(path: str | os.PathLike[str], need_card: bool = False) -> tuple[Card, bool]:
    """`card_of` for a file. ``need_card`` is for callers that decide by the model's scores: with the wrong
    input a model finds strangers similar, so `NoCard` is raised instead of a guess."""
    card, found = card_of(load_onnx(path), Path(path).stem)
    if need_card and not found:
        raise no_card(path)
    return card, found


def no_card(model: str | os.PathLike[str]) -> NoCard:
    """The error for a ``model`` without a card if scores decide."""
    return NoCard(
        f"{model} has no card: its input (colour order, scale, template) is unknown",
        f"State it: facekd card {model} --set input.colour=rgb --set input.mean=127.5 "
        "--set input.std=127.5 --set crop=arcface (with this network's values), or --convention "
        "insightface.",
    )


def write_card(model: onnx.ModelProto, card: Card, path: str | os.PathLike[str]) -> Card:
    """Write ``model`` with ``card`` to ``path`` atomically; return the pinned card."""
    pinned = card.with_digest(network_digest(model))
    kept = [p for p in model.metadata_props if p.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, pinned.model_dump_json()
    write_atomically(path, model.SerializeToString(deterministic=True))
    return pinned
