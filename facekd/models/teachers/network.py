"""A torch network as a teacher: unit rows and feature maps, on the given device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from facekd.card import Card, CropSpec
from facekd.models._base import FaceNet, Outputs, Targets, to_planes, torch_device
from facekd.models.teachers.views import as_crops, check_teachable


class NetworkTeacher:
    """A frozen `FaceNet` with its card.

    ``space`` is the SHA-256 of the network's weights (names, types and values of the state dict),
    its architecture, and the card's input, crop and embedding. Exporting the network gives an
    ONNX file of another space, since an exported graph rounds differently.
    """

    def __init__(self, net: FaceNet, card: Card, device: str = "cpu") -> None:
        check_teachable(card.name, card.crop)
        self._device = torch_device(device)
        self._net = net.eval().requires_grad_(False).to(self._device)
        self.card = card
        # small pieces stay in a CPU's cache; an accelerator needs large ones
        self._batch = 32 if self._device.type == "cpu" else 512

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def space(self) -> str:
        return self.card.space

    @property
    def dim(self) -> int:
        return self.card.embedding.dim

    @property
    def crop(self) -> CropSpec:
        return self.card.crop

    def targets(self, views: NDArray[np.uint8]) -> Targets:
        """Unit rows [N, D] and the tapped feature maps [N, C, H, W], on the teacher's device, of crops uint8
        RGB [N, 112, 112, 3] on the ArcFace template."""
        crops = as_crops(views, self.crop)
        starts = range(0, max(len(crops), 1), self._batch)
        return _join([self._piece(crops[start : start + self._batch]) for start in starts])

    @torch.no_grad()
    def _piece(self, crops: NDArray[np.uint8]) -> Outputs:
        planes = to_planes(crops, self.card.input, self._device)
        out = self._net.outputs(planes, features=True)
        return Outputs(nn.functional.normalize(out.embedding.float(), dim=1), out.features)


def _join(pieces: list[Outputs]) -> Targets:
    if len(pieces) == 1:
        return Targets(pieces[0].embedding, pieces[0].features)
    features = {name: torch.cat([p.features[name] for p in pieces]) for name in pieces[0].features}
    return Targets(torch.cat([p.embedding for p in pieces]), features)
