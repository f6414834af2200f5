"""A teacher from an exported model: any ONNX embedding model under its card, or an ensemble file."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray

from facekd.card import CropSpec
from facekd.models._base import Targets
from facekd.models.teachers.views import as_crops, check_teachable
from facekd.runtime import load_embedder


class OnnxTeacher:
    """Embeddings of an ONNX model; it has no feature maps to show.

    Views are warped from the ArcFace template to the model's own where the two differ. ``space``
    is the card's, so that a cache made here fits the model wherever it is used.
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "cpu", threads: int | None = None) -> None:
        self._embedder = load_embedder(path, device, threads)
        check_teachable(self.name, self.crop)

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def has_card(self) -> bool:
        """False where the model is read by insightface's convention, for want of a card."""
        return self._embedder.has_card

    @property
    def space(self) -> str:
        return self._embedder.space

    @property
    def dim(self) -> int:
        return self._embedder.card.embedding.dim

    @property
    def crop(self) -> CropSpec:
        return self._embedder.spec

    def targets(self, views: NDArray[np.uint8]) -> Targets:
        """uint8 RGB [N, 112, 112, 3] on the ArcFace template to unit rows [N, D], on the CPU."""
        return Targets(torch.from_numpy(self._embedder.embed(as_crops(views, self.crop))))
