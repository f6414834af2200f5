"""Load a network of facekd from disk: a run folder, one of its checkpoints, or a weights file.

The run's recipe states the network, the run's card its input; weights are
safetensors under the names of the network's state dict.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from facekd.card import Card, EmbeddingSpec, LandmarkCrop, Provenance
from facekd.errors import InputOutput, Misfit, Unreadable
from facekd.models._base import FaceNet, build_model

_WEIGHTS = "model.safetensors"


def read_saved(path: Path) -> tuple[FaceNet, Card]:
    """The network at ``path`` in eval mode, and its card pinned to the weights.

    ``path`` is a run folder (its ``best`` checkpoint, otherwise ``last``), a checkpoint folder or a
    ``.safetensors`` file inside a run. Raises `InputOutput` if one of the pieces is missing,
    `Unreadable` if it is damaged, `Misfit` if the weights are another network's.
    """
    file = weights_file(path)
    run = run_of(file)
    name, settings = _student(run / "recipe.toml")
    net = build_model(name, **settings)
    weights = read_weights(file)
    fill(net, weights, file)
    return net.eval(), pinned(_as_of(_card(run, net, name, settings), file.parent / "state.json"), weights)


def provenance_of(path: Path) -> Provenance | None:
    """What the weights at ``path`` (see `read_saved`) were trained on, up to that checkpoint: from the card
    of their run, or from the metadata of a ``.safetensors`` file made of one; `None` if neither exists.
    Raises `Unreadable` if it cannot be read."""
    file = weights_file(path)
    if path.is_file() and file.suffix == ".safetensors":
        told = _metadata(file).get("provenance")
        if told is not None:
            try:
                return Provenance.model_validate_json(told)
            except ValueError as error:
                raise Unreadable(f"{file}: its provenance cannot be read ({error})") from error
    try:
        card = run_of(file) / "card.json"
    except InputOutput:
        return None
    return _as_of(_read_card(card), file.parent / "state.json").provenance if card.is_file() else None


def weights_file(path: Path) -> Path:
    """The safetensors file of ``path``, which is a run folder, a checkpoint or that file."""
    if path.is_file():
        return path
    for folder in (path, path / "checkpoints" / "best", path / "checkpoints" / "last"):
        if (folder / _WEIGHTS).is_file():
            return folder / _WEIGHTS
    raise InputOutput(
        f"{path}: no weights in it", "Give a run folder, one of its checkpoints, or a .safetensors file."
    )


def run_of(file: Path) -> Path:
    """The run folder of a weights file: the nearest one above it with a recipe."""
    for folder in file.absolute().parents:
        if (folder / "recipe.toml").is_file():
            return folder
    raise InputOutput(
        f"{file}: no recipe.toml above it says which network this is",
        "Leave checkpoints in their run folder, or name a timm backbone: timm:NAME:FILE.",
    )


def read_weights(file: Path) -> dict[str, Tensor]:
    """A state dict from a safetensors file or one of torch's (plain tensors only).

    Raises `InputOutput` if the file is missing, `Unreadable` if it is not a state dict.
    """
    if not file.is_file():
        raise InputOutput(f"{file}: no such weights file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise Unreadable(f"{file}: cannot be read as weights ({first[0]})") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise Unreadable(f"{file}: not a state dict (names to tensors)")
    return weights


def fill(net: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    """Load ``weights`` into ``net``; `Misfit` unless all names and shapes of both are equal."""
    try:
        net.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        first = "".join(str(error).splitlines()[1:2]).strip()
        raise Misfit(f"{file}: not the weights of this network ({first[:300]})") from error


def _student(recipe: Path) -> tuple[str, dict[str, Any]]:
    try:
        student = tomllib.loads(recipe.read_text(encoding="utf-8"))["student"]
        return str(student["name"]), dict(student.get("settings", {}))
    except OSError as error:
        raise InputOutput(f"{recipe}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{recipe}: does not say which network it trained ({error})") from error


def _card(run: Path, net: FaceNet, name: str, settings: dict[str, Any]) -> Card:
    file = run / "card.json"
    if file.is_file():
        return _read_card(file)
    written = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    return Card(
        name=run.name,
        architecture=f"{name}({written})",
        input=net.input,
        crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=net.dim),
    )


def _read_card(file: Path) -> Card:
    try:
        return Card.model_validate_json(file.read_bytes())
    except ValueError as error:
        raise Unreadable(f"{file}: not a card ({error})") from error


def _metadata(file: Path) -> dict[str, str]:
    try:
        with safe_open(file, "pt") as opened:
            return opened.metadata() or {}
    except Exception as error:
        raise Unreadable(f"{file}: not a safetensors file ({error})") from error


def _as_of(card: Card, state: Path) -> Card:
    """``card`` with the number of images that this checkpoint had seen, and the network it began with before
    that, where a run's card has the plan."""
    if not state.is_file():
        return card
    try:
        seen = json.loads(state.read_text(encoding="utf-8")).get("images")
    except (OSError, ValueError, AttributeError) as error:
        raise Unreadable(f"{state}: not a checkpoint's state ({error})") from error
    provenance = card.provenance
    if seen is not None and provenance.start is not None:
        seen += provenance.start.images_seen or 0
    return card.model_copy(update={"provenance": provenance.model_copy(update={"images_seen": seen})})


def pinned(card: Card, weights: dict[str, Tensor]) -> Card:
    """``card`` with the digest and space of a torch network: the SHA-256 of its architecture and
    of the names, types and values of its weights."""
    sha = hashlib.sha256(card.architecture.encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        sha.update(f"|{name}:{tensor.dtype}:{tuple(tensor.shape)}|".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return card.with_digest(sha.hexdigest())
