"""Networks of a few kilobytes, each not quite what an embedding model is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str]


def write_network(
    path: Path,
    *,
    pixels: int = TensorProto.FLOAT,
    shape: Dims = ("N", 3, 112, 112),
    end: Sequence[onnx.NodeProto] = (),
    output: Dims = ("N", 16),
    outputs: Sequence[str] = ("embedding",),
) -> Path:
    """Means over blocks of 8 x 8 pixels, projected to 16 numbers, "row", and nodes ``end`` that make
    ``outputs`` of it; by default it is the output itself. ``output`` is the shape that the file states."""
    number = helper.tensor_dtype_to_np_dtype(pixels)
    rows, columns = (side // 8 if isinstance(side, int) else 14 for side in shape[2:])
    weights = np.random.default_rng(0).normal(size=(3 * rows * columns, 16))
    weights -= weights.mean(axis=0)
    nodes = [
        helper.make_node("AveragePool", ["crops"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["blocks"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["row" if end else "embedding"]),
        *end,
    ]
    graph = helper.make_graph(
        nodes, "odd", [helper.make_tensor_value_info("crops", pixels, shape)],
        [helper.make_tensor_value_info(name, pixels, output) for name in outputs],
        [numpy_helper.from_array(weights.astype(number), "weights")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def constant(path: Path, size: int = 112) -> Path:
    """Says the same of every crop."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["crops"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
            helper.make_node("Mul", ["column", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "same"], ["embedding"]),
        ],
        "constant",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 8])],
        [
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.zeros((1, 1), np.float32), "zero"),
            numpy_helper.from_array(np.arange(8, dtype=np.float32)[None], "same"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
