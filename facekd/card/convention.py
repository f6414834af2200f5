"""What is assumed of a model without a card: insightface's convention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekd.errors import Unreadable

if TYPE_CHECKING:
    import onnx
from facekd.card.contract import ARCFACE_TEMPLATE, Card, EmbeddingSpec, InputSpec, LandmarkCrop


def insightface_card(model: onnx.ModelProto, name: str) -> Card:
    """What insightface assumes of a recognition model (its model zoo's ArcFaceONNX)."""
    inputs = [v for v in model.graph.input if v.name not in _weight_names(model)]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise Unreadable(
            f"{name}: an embedding model has one input and one output, this has "
            f"{len(inputs)} and {len(model.graph.output)}"
        )
    shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    if len(shape) != 4 or shape[1] not in (0, 3):
        raise Unreadable(f"{name}: input shape {shape} is not [N, 3, S, S]")
    size = shape[2] or 112
    scaled_inside = [n.op_type for n in model.graph.node[:2]] == ["Sub", "Mul"]
    mean, std = (0.0, 1.0) if scaled_inside else (127.5, 127.5)
    scale = size / 112
    template = tuple((round(x * scale, 4), round(y * scale, 4)) for x, y in ARCFACE_TEMPLATE)
    output = model.graph.output[0].type.tensor_type.shape.dim
    dim = output[-1].dim_value if len(output) == 2 else 0
    return Card(
        name=name,
        input=InputSpec(size=size, colour="rgb", mean=mean, std=std),
        crop=LandmarkCrop(size=size, template=template),  # type: ignore[arg-type]
        embedding=EmbeddingSpec(dim=dim or _run_for_dim(model, size)),
    )


def _run_for_dim(model: onnx.ModelProto, size: int) -> int:
    """The embedding's length of a model that does not state it, found by one run on black."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    black = np.zeros((1, 3, size, size), np.float32)
    return int(session.run(None, {session.get_inputs()[0].name: black})[0].shape[-1])


def _weight_names(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}
