"""An exported model as a teacher: any ONNX embedding model with its card, or an ensemble file."""

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
    """Embeddings of an ONNX model; it has no feature maps.

    Views are warped from the ArcFace template to the model's own if the two differ. ``space``
    is the card's, so that targets cached with it are valid for the model everywhere.
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "cpu", threads: int | None = None) -> None:
        self._embedder = load_embedder(path, device, threads)
        check_teachable(self.name, self.crop)

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def has_card(self) -> bool:
        """False if the model has no card and is read by insightface's convention."""
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
        """Unit rows [N, D], on the CPU, of crops uint8 RGB [N, 112, 112, 3] on the ArcFace template."""
        return Targets(torch.from_numpy(self._embedder.embed(as_crops(views, self.crop))))
