"""Sums of two products of an unsigned and a signed byte, which some processors add in 16 bits.

x86 processors without VNNI multiply the bytes of two neighbours and add both products in 16 bits, cutting off
what does not fit (the instruction PMADDUBSW): up to 255 x 127 twice, where 32,767 is the most. Neighbours are
weights of one output channel that are read one after the other: the inputs of a linear layer; the input
channels at one place of a convolution's kernel, then those at the next place (channels come last).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

#: the largest sum of two neighbouring weights of one sign: 255 x 128 = 32,640
LARGEST_SUM = 128


def neighbouring_weights(shape: Sequence[int]) -> list[NDArray[np.intp]]:
    """The neighbours among the weights of one output channel, of ``shape`` [I] or [I, kH, kW]: arrays of
    indices [P, 2] into the flattened weights, one for each way in which they may be read.

    With an odd number of input channels the last one at a place is read either with the first one at the
    next place or alone. Depthwise convolutions (I = 1) have no neighbours: their products are added in 32
    bits.
    """
    inputs, places = shape[0], int(np.prod(shape[1:]))
    if len(shape) > 1 and inputs == 1:
        return []
    read = np.arange(inputs * places).reshape(inputs, places).T
    ways = [read.reshape(1, -1), read] if inputs % 2 else [read.reshape(1, -1)]
    return [way[:, : way.shape[1] // 2 * 2].reshape(-1, 2) for way in ways]


def largest_sums(weights: NDArray) -> NDArray:
    """The largest sum of two neighbouring weights of one sign in each output channel, [O], of ``weights``
    [O, I] or [O, I, kH, kW]; 0 without neighbours."""
    rows = weights.reshape(len(weights), -1)
    largest = np.zeros(len(rows), np.result_type(weights, np.int64))
    for pairs in neighbouring_weights(weights.shape[1:]):
        for sign in (1, -1):
            sums = np.maximum(sign * rows.astype(largest.dtype), 0)[:, pairs].sum(axis=2)
            largest = np.maximum(largest, sums.max(axis=1, initial=0))
    return largest


def all_sums_fit(model: onnx.ModelProto) -> bool:
    """Whether no sum of ``model``, whatever its input, can overflow. False for quantised weights of a kind
    that `facekd.export` does not write; true without any."""
    from onnx import TensorProto, numpy_helper

    signed = {one.name: one for one in model.graph.initializer if one.data_type == TensorProto.INT8}
    matrices = {name: numpy_helper.to_array(one) for name, one in signed.items() if len(one.dims) > 1}
    known = _in_rows(model)
    return all(
        name in known and (largest_sums(weights) <= LARGEST_SUM).all() for name, weights in matrices.items()
    )


def _in_rows(model: onnx.ModelProto) -> set[str]:
    """The names of the quantised weights whose first dimension is the output channel."""
    made_of = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"
    }
    used = (node.input[1] for node in model.graph.node if has_weight_rows(node))
    return {made_of[name] for name in used if name in made_of}


def has_weight_rows(node: onnx.NodeProto) -> bool:
    """Whether ``node`` has weights whose first dimension is the output channel."""
    if node.op_type == "Gemm":
        return any(one.name == "transB" and one.i for one in node.attribute)
    return node.op_type == "Conv"
