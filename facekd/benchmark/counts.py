"""The size of a model: parameters, multiply-adds, bytes. Computed from the ONNX graph, not measured."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facekd.card import card_of, load_onnx
from facekd.errors import Unreadable
from facekd.files import read_text

if TYPE_CHECKING:
    import onnx

#: the input of a convolution that is its kernel [out, in / groups, ...]
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
_COUNTED = {*_CONVOLUTIONS, "ConvTranspose", "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"}
#: operators with many multiply-adds that are not counted; a report lists them
_UNCOUNTED = frozenset(
    {"Einsum", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention", "If", "Loop", "Scan"}
)
#: inputs of an operator that are not parameters: quantisation scales, running statistics
_NOT_PARAMETERS = {
    "DequantizeLinear": (1, 2),
    "QuantizeLinear": (1, 2),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "BatchNormalization": (3, 4),
}
#: inputs of an operator that may be quantised weights
_QUANTISED = {
    "DequantizeLinear": (0,),
    "ConvInteger": (1,),
    "MatMulInteger": (0, 1),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (0, 3),
}

WHAT_IS_COUNTED = (
    "Parameters are the weights stored in the file (quantised ones too), without quantisation scales and "
    "the running statistics of batch norms. Multiply-adds are those of convolutions and matrix products "
    "for one crop, one multiplication with its addition counted once; activations, norms and additions "
    "are left out."
)


@dataclass(frozen=True)
class ModelCounts:
    """``macs`` are multiply-adds for one crop; ``template_bytes`` is one float32 embedding as a
    gallery stores it; ``uncounted`` names operators whose multiply-adds are not in ``macs``."""

    parameters: int
    macs: int
    file_bytes: int
    dim: int
    template_bytes: int
    uncounted: tuple[str, ...] = ()


def count_model(path: str | os.PathLike[str]) -> ModelCounts:
    """The counts of an ONNX file, or of all files of an ensemble together.

    Raises `InputOutput` if a file is missing, `Unreadable` if it is not a model.
    """
    parts = [_count_file(file) for file in model_files(path)]
    dim = sum(part.dim for part in parts)
    return ModelCounts(
        parameters=sum(part.parameters for part in parts),
        macs=sum(part.macs for part in parts),
        file_bytes=sum(part.file_bytes for part in parts),
        dim=dim,
        template_bytes=dim * np.dtype(np.float32).itemsize,
        uncounted=tuple(sorted({name for part in parts for name in part.uncounted})),
    )


def model_files(path: str | os.PathLike[str]) -> list[Path]:
    """The ONNX files of ``path``: itself, or those that an ensemble's TOML file lists."""
    path = Path(path)
    if path.suffix != ".toml":
        return [path]
    try:
        listing = tomllib.loads(read_text(path))
        return [path.parent / file for file in listing["models"]]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise Unreadable(f'{path}: an ensemble lists its models: models = ["a.onnx", "b.onnx"]') from error


def _count_file(path: Path) -> ModelCounts:
    model = load_onnx(path)
    card, _ = card_of(model, path.stem)
    dim = card.embedding.dim
    return ModelCounts(
        parameters=count_parameters(model),
        macs=count_macs(model, card.input.size),
        file_bytes=path.stat().st_size,
        dim=dim,
        template_bytes=dim * np.dtype(np.float32).itemsize,
        uncounted=tuple(sorted({n.op_type for n in model.graph.node if n.op_type in _UNCOUNTED})),
    )


def count_parameters(model: onnx.ModelProto) -> int:
    """Elements of all stored weights: floating point, or integers that the graph dequantises."""
    from onnx import TensorProto

    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
    nodes = model.graph.node
    skipped = {name for node in nodes for name in _inputs(node, _NOT_PARAMETERS)}
    quantised = {name for node in nodes for name in _inputs(node, _QUANTISED)}
    return sum(
        math.prod(tensor.dims)
        for name, tensor in _stored(model)
        if name not in skipped and (tensor.data_type in floats or name in quantised)
    )


def _stored(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Weights by name: initializers, and constants with more than one element (some exporters
    store weights as constants; single numbers are part of a formula)."""
    yield from ((tensor.name, tensor) for tensor in model.graph.initializer)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            if math.prod(tensor.dims) > 1:
                yield node.output[0], tensor


def _inputs(node: onnx.NodeProto, places: dict[str, tuple[int, ...]]) -> set[str]:
    return {node.input[i] for i in places.get(node.op_type, ()) if i < len(node.input)}


def count_macs(model: onnx.ModelProto, size: int) -> int:
    """Multiply-adds of convolutions, Gemm and MatMul for one crop of ``size`` pixels.

    Shapes are observed in one run on a black crop: graphs that compute their own shapes (attention, position
    codes) defeat ONNX's static inference.
    """
    counted = [node for node in model.graph.node if node.op_type in _COUNTED]
    batch, shapes = _observed_shapes(model, counted, size)
    return sum(_macs(node, shapes) for node in counted) // batch


def _macs(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    first, output = shapes[node.input[0]], shapes[node.output[0]]
    if node.op_type in _CONVOLUTIONS:
        kernel = shapes[node.input[_CONVOLUTIONS[node.op_type]]]
        return math.prod(output) * math.prod(kernel[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(output) * first[0 if transposed else 1]
    return math.prod(output) * first[-1]


def _observed_shapes(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], size: int
) -> tuple[int, dict[str, tuple[int, ...]]]:
    """The batch size of the run (1 unless the file fixes another) and the shape of every operand."""
    import onnx
    import onnxruntime

    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    wanted = {name for node in nodes for name in (*node.input, *node.output) if name} - shapes.keys()
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {value.name for value in (*probe.graph.input, *probe.graph.output)}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - present))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feed = session.get_inputs()[0]
        black = _black(feed.shape, size)
        values = session.run(None, {feed.name: black})
    except Exception as error:
        raise Unreadable(f"ONNX Runtime cannot run the model ({error})") from error
    shapes[feed.name] = black.shape
    shapes |= {o.name: value.shape for o, value in zip(session.get_outputs(), values, strict=True)}
    return black.shape[0], shapes


def _black(shape: list[int | str | None], size: int) -> NDArray[np.float32]:
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 1
    return np.zeros((batch, 3, size, size), np.float32)
