"""Any timm backbone by name, with weights from a local file (such as the EdgeFace networks)."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from facekd.card import Card, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.errors import UsageError
from facekd.models._base import FaceNet, Outputs
from facekd.models._saved import fill, pinned, read_weights
from facekd.models._torchvision_ops import ensure_torchvision_ops


class TimmNet(FaceNet):
    """A timm model with the embedding as its classifier; ``stage1``, ``stage2`` ... are the
    intermediate maps that timm lists for it, [N, C, H, W] whatever their internal layout."""

    def __init__(self, body: nn.Module, dim: int) -> None:
        super().__init__()
        self.body = body
        self.dim = dim
        if hasattr(body, "forward_intermediates"):
            self.taps = tuple(f"stage{n}" for n in range(1, len(_feature_info(body)) + 1))

    def forward(self, planes: Tensor) -> Tensor:
        out: Tensor = self.body(planes)
        return out

    def outputs(self, planes: Tensor, features: bool = False) -> Outputs:
        if not features or not self.taps:
            return Outputs(self(planes))
        body: Any = self.body
        final, maps = body.forward_intermediates(planes)
        return Outputs(body.forward_head(final), dict(zip(self.taps, maps, strict=True)))


def timm_network(name: str, file: Path) -> tuple[TimmNet, Card]:
    """The timm model ``name`` filled strictly with the state dict ``file``, and its card.

    The dimension of the embedding is that of the classifier in ``file``; without a classifier it is
    that of the pooled features. The input is 112-pixel RGB crops on the ArcFace template,
    (x - 127.5) / 127.5.
    Raises `UsageError` for an unknown name, `Misfit` if the weights are another network's,
    `InputOutput` or `Unreadable` for the file.
    """
    ensure_torchvision_ops()
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise UsageError(f"timm has no model '{name}'", f"Near it: {', '.join(near)}." if near else None)
    weights = read_weights(file)
    crop = LandmarkCrop()
    default = timm.get_pretrained_cfg(name, allow_unregistered=True)
    fixed: dict[str, Any] = (
        {"img_size": crop.size} if default is not None and default.fixed_input_size else {}
    )
    classifier = weights.get(f"{default.classifier}.weight") if default is not None else None
    body: Any = timm.create_model(name, num_classes=0 if classifier is None else len(classifier), **fixed)
    fill(body, weights, file)
    dim = int(body.num_features) if classifier is None else len(classifier)
    card = Card(
        name=file.stem,
        architecture=f"timm {name}(num_classes={len(classifier) if classifier is not None else 0})",
        input=InputSpec(),
        crop=crop,
        embedding=EmbeddingSpec(dim=dim),
    )
    return TimmNet(body, dim).eval(), pinned(card, weights)


def _feature_info(body: nn.Module) -> list[Any]:
    return list(getattr(body, "feature_info", []))
