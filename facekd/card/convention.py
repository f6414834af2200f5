"""The contract assumed of a model without a card: insightface's convention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekd.card.contract import ARCFACE_TEMPLATE, Card, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.card.graph import graph_shape, run_for_dim

if TYPE_CHECKING:
    import onnx


def insightface_card(model: onnx.ModelProto, name: str) -> Card:
    """The input that insightface assumes of a recognition model (its model zoo's ArcFaceONNX).

    Raises `Unreadable` if the network is not an embedding model.
    """
    shape = graph_shape(model, name)
    size = shape.size or 112
    scaled_inside = [n.op_type for n in model.graph.node[:2]] == ["Sub", "Mul"]
    mean, std = (0.0, 1.0) if scaled_inside else (127.5, 127.5)
    return Card(
        name=name,
        input=InputSpec(size=size, colour="rgb", mean=mean, std=std),
        crop=arcface_crop(size),
        embedding=EmbeddingSpec(dim=shape.dim or run_for_dim(model, name, shape, size)),
    )


def arcface_crop(size: int) -> LandmarkCrop:
    """A crop of ``size`` pixels with ArcFace's template, scaled to it."""
    scale = size / 112
    template = tuple((round(x * scale, 4), round(y * scale, 4)) for x, y in ARCFACE_TEMPLATE)
    return LandmarkCrop(size=size, template=template)  # type: ignore[arg-type]
