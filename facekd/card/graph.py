"""The requirements on an ONNX graph as an embedding model, and the sizes that it states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facekd.errors import Unreadable

if TYPE_CHECKING:
    import onnx

#: element types of pixels and embeddings, as ONNX numbers them, with numpy's name
_NUMBERS = {1: "float32", 10: "float16"}


@dataclass(frozen=True)
class GraphShape:
    """``size`` in pixels and ``dim`` of the embedding, `None` if the graph leaves them open; ``batch``
    if it is fixed; ``pixels`` is the number type of the input."""

    size: int | None
    dim: int | None
    batch: int | None
    pixels: str


def graph_shape(model: onnx.ModelProto, name: str) -> GraphShape:
    """The shape of ``model``: one input [N, 3, S, S], one output [N, D].

    Raises `Unreadable` for any other, with the part that is not supported.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    outputs = list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise Unreadable(
            f"{name}: an embedding model has one input and one output, this one has "
            f"{len(inputs)} and {len(outputs)}"
        )
    pixels = _number(inputs[0], name, "is fed")
    _number(outputs[0], name, "gives")
    shape = _dims(inputs[0])
    if len(shape) != 4 or shape[1] not in (0, 3):
        raise Unreadable(f"{name}: input shape {_shown(shape)} is not [N, 3, S, S]")
    sides = {side for side in shape[2:] if side}
    if len(sides) > 1:
        raise Unreadable(
            f"{name}: it takes crops of {shape[3]} x {shape[2]} pixels (width x height); only square crops "
            "are supported"
        )
    out = _dims(outputs[0])
    if len(out) != 2:
        raise Unreadable(f"{name}: output shape {_shown(out)} is not that of embeddings, [N, D]")
    return GraphShape(next(iter(sides), None), out[1] or None, shape[0] or None, pixels)


def run_for_dim(model: onnx.ModelProto, name: str, shape: GraphShape, size: int) -> int:
    """The embedding's dimension of a model that does not state it, found by one run on a black crop.

    Raises `Unreadable` if it cannot be run, or gives no embedding.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    black = np.zeros((shape.batch or 1, 3, size, size), shape.pixels)
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = np.asarray(session.run(None, {session.get_inputs()[0].name: black})[0])
    # ONNX Runtime raises a different class for each kind of fault
    except Exception as error:
        raise Unreadable(f"{name}: it cannot be run on a crop of {size} pixels ({_first(error)})") from error
    if found.ndim != 2 or len(found) != len(black):
        raise Unreadable(f"{name}: output shape {list(found.shape)} is not that of embeddings, [N, D]")
    return int(found.shape[1])


def _number(value: onnx.ValueInfoProto, name: str, verb: str) -> str:
    from onnx import TensorProto

    kind = value.type.tensor_type.elem_type
    if kind not in _NUMBERS:
        shown = TensorProto.DataType.Name(kind).lower() if kind else "no tensor"
        raise Unreadable(f"{name}: it {verb} {shown}; only {' and '.join(_NUMBERS.values())} are supported")
    return _NUMBERS[kind]


def _dims(value: onnx.ValueInfoProto) -> list[int]:
    """The stated sizes, 0 if one is open."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _shown(shape: list[int]) -> str:
    return f"[{', '.join(str(side or '?') for side in shape)}]"


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
