"""Embedders: crops in, unit embeddings out."""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.card import Card, CropSpec, LandmarkCrop, canonical_json, card_of, load_onnx, no_card
from facekd.errors import Misfit, Unreadable
from facekd.files import read_text
from facekd.runtime.pair_sums import all_sums_fit
from facekd.runtime.scalar_slopes import with_leaky_relu
from facekd.runtime.session import open_session

Crops = NDArray[np.uint8]
Embeddings = NDArray[np.float32]

#: the number types of a network's input, by ONNX Runtime's names
_NUMBERS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Embedder(Protocol):
    """The interface through which evaluation and operators use a model."""

    @property
    def name(self) -> str: ...
    @property
    def card(self) -> Card: ...
    @property
    def spec(self) -> CropSpec:
        """How the crops must be cut."""
        ...

    @property
    def space(self) -> str:
        """The digest of the space: embeddings can be compared if their spaces are equal."""
        ...

    @property
    def has_card(self) -> bool:
        """False if the contract was assumed by convention."""
        ...

    def embed(self, crops: Crops) -> Embeddings:
        """uint8 RGB [N, S, S, 3] cut by ``spec`` to float32 [N, D] rows of unit length.

        Raises `Misfit` if the crops have another size.
        """
        ...


class _Read(NamedTuple):
    """A model's card, whether it was stored there, `all_sums_fit`, and what to run: the file, or another
    graph that computes the same (`with_leaky_relu`)."""

    card: Card
    has_card: bool
    sums_fit: bool
    model: Path | bytes


def _read(path: Path, need_card: bool) -> _Read:
    model = load_onnx(path)
    card, found = card_of(model, path.stem)
    if need_card and not found:
        raise no_card(path)
    fit = all_sums_fit(model)
    return _Read(card, found, fit, model.SerializeToString() if with_leaky_relu(model) else path)


class OnnxEmbedder:
    """One ONNX model with its card, or with ``card`` in its place."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: str = "cpu",
        threads: int | None = None,
        batch: int = 32,
        need_card: bool = False,
        card: Card | None = None,
    ) -> None:
        self.path = Path(path)
        # under another card the file is not read for itself; shifted weights answer the same
        read = _read(self.path, need_card) if card is None else _Read(card, True, False, self.path)
        self.card, self.has_card = read.card, read.has_card
        self._session = open_session(read.model, device, threads, read.sums_fit, str(self.path))
        given = self._session.get_inputs()[0]
        self._input, self._number = given.name, _NUMBERS[given.type]
        fixed = given.shape[0]
        self._batch = fixed if isinstance(fixed, int) and fixed > 0 else batch
        self._fixed = isinstance(fixed, int) and fixed > 0

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def spec(self) -> CropSpec:
        return self.card.crop

    @property
    def space(self) -> str:
        return self.card.space

    def embed(self, crops: Crops) -> Embeddings:
        size = self.card.input.size
        if crops.ndim != 4 or crops.shape[1:] != (size, size, 3) or crops.dtype != np.uint8:
            raise Misfit(
                f"{self.name} needs uint8 crops [N, {size}, {size}, 3], got {crops.dtype} {list(crops.shape)}"
            )
        out = np.empty((len(crops), self.card.embedding.dim), np.float32)
        for start in range(0, len(crops), self._batch):
            out[start : start + self._batch] = self._run(crops[start : start + self._batch])
        return unit_rows(out)

    def _run(self, crops: Crops) -> Embeddings:
        planes = self.planes(crops)
        short = self._batch - len(planes) if self._fixed else 0
        if short:
            planes = np.concatenate([planes, np.zeros((short, *planes.shape[1:]), np.float32)])
        planes = planes.astype(self._number, copy=False)
        try:
            found = np.asarray(self._session.run(None, {self._input: planes})[0])
        # ONNX Runtime raises a different class for each kind of fault
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Misfit(f"{self.name}: the network cannot be run on crops of its card ({first})") from error
        if found.shape != (len(planes), self.card.embedding.dim):
            raise Misfit(
                f"{self.name}: the card states embeddings [{len(planes)}, {self.card.embedding.dim}], "
                f"but the network gives {list(found.shape)}"
            )
        return found[: len(crops)].astype(np.float32, copy=False)

    def planes(self, crops: Crops) -> NDArray[np.float32]:
        """The network's input [N, 3, S, S] for ``crops``: colour order, mean and std of the card."""
        contract = self.card.input
        pixels = crops[..., ::-1] if contract.colour == "bgr" else crops
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
        planes -= contract.mean
        planes /= contract.std
        return planes


class EnsembleEmbedder:
    """Several models as one: unit embeddings concatenated, then renormalised.

    All members must use one crop spec, or the crops of the first member's spec are
    warped template to template for the others.
    """

    def __init__(self, name: str, members: list[OnnxEmbedder]) -> None:
        from facekd.card import EmbeddingSpec

        self.name = name
        self._members = members
        first = members[0]
        joined = hashlib.sha256(canonical_json([m.space for m in members])).hexdigest()
        self.card = first.card.model_copy(
            update={
                "name": name,
                "architecture": "ensemble of " + ", ".join(m.name for m in members),
                "digest": joined,
                "embedding": EmbeddingSpec(dim=sum(m.card.embedding.dim for m in members)),
                "calibration": (),
                "upper_tail": (),
                "score_map": None,
                "photo_limits": None,
                "similar": None,
                "compatible_with": (),
            }
        ).with_digest(joined)
        self.has_card = all(m.has_card for m in members)

    @property
    def spec(self) -> CropSpec:
        return self.card.crop

    @property
    def space(self) -> str:
        return self.card.space

    def embed(self, crops: Crops) -> Embeddings:
        from facekd.geometry import recrop

        parts = [m.embed(recrop(crops, self.spec, m.spec)) for m in self._members]
        return unit_rows(np.concatenate(parts, axis=1))


def load_embedder(
    model: str | os.PathLike[str], device: str = "cpu", threads: int | None = None, *, need_card: bool = False
) -> Embedder:
    """The model in the file ``model``: an ONNX file, or a TOML file ``name = "..."``, ``models = [...]``
    whose models are ONNX files relative to it.

    A model without a card is read by insightface's convention, which ``need_card`` refuses: enrolling,
    verifying and calibrating must not rest on a guess.

    Raises `InputOutput` or `Unreadable` for the file, `NoCard`, `DeviceError` for the device.
    """
    path = Path(model)
    if path.suffix != ".toml":
        return OnnxEmbedder(path, device, threads, need_card=need_card)
    try:
        listing = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(f"{path}: not TOML ({error})") from error
    files = listing.get("models")
    if not isinstance(files, list) or not files or not all(isinstance(f, str) for f in files):
        raise Unreadable(f'{path}: an ensemble lists its models: models = ["a.onnx", "b.onnx"]')
    members = [OnnxEmbedder(path.parent / file, device, threads, need_card=need_card) for file in files]
    if not all(isinstance(m.spec, LandmarkCrop) for m in members) and len({m.spec for m in members}) > 1:
        raise Misfit(f"{path}: a model with box crops cannot share crops with the others")
    return EnsembleEmbedder(str(listing.get("name", path.stem)), members)


def embedder_under(
    card: Card, path: str | os.PathLike[str], device: str = "cpu", threads: int | None = None
) -> Embedder:
    """The ONNX model at ``path``, with the input that ``card`` states, whatever card is in the file."""
    return OnnxEmbedder(path, device, threads, card=card)


def unit_rows(rows: NDArray[np.floating]) -> Embeddings:
    """``rows`` [N, D] scaled to unit length; a row of zeros or NaN raises `Unreadable`."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths == 0):
        raise Unreadable("the network gave an embedding that is zero or not a number")
    return np.asarray(rows / lengths, np.float32)
