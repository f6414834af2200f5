"""Sums of two products of an unsigned and a signed byte, which some processors add in 16 bits.

x86 processors without VNNI multiply the bytes of two neighbours and add both products in 16 bits, cutting off
what does not fit (the instruction PMADDUBSW): up to 255 x 127 twice, where 32,767 is the most. Neighbours are
weights of one output channel that are read one after the other: the inputs of a linear layer; the input
channels at one place of a convolution's kernel, then those at the next place (channels come last).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

#: the largest sum of two neighbouring weights of one sign: 255 x 128 = 32,640
LARGEST_SUM = 128
#: operators that add up products
_PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "RNN", "GRU", "LSTM", "Attention"}


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


def sums_of_one_sign(rows: NDArray, pairs: NDArray[np.intp]) -> NDArray:
    """The absolute sums [O, P] of the ``pairs`` in ``rows`` [O, K] whose two weights have one sign; 0 for the
    others, which cannot add up to more than one of them."""
    one, other = rows[:, pairs[:, 0]], rows[:, pairs[:, 1]]
    sums: NDArray = np.abs(one + other) * ((one > 0) == (other > 0))
    return sums


def largest_sums(weights: NDArray) -> NDArray:
    """The largest absolute sum of two neighbouring weights of one sign in each output channel, [O], of
    ``weights`` [O, I] or [O, I, kH, kW]; 0 without such neighbours."""
    rows = weights.reshape(len(weights), -1).astype(np.result_type(weights, np.int16))
    ways = neighbouring_weights(weights.shape[1:])
    largest = [sums_of_one_sign(rows, pairs).max(axis=1, initial=0) for pairs in ways]
    return np.max(largest, axis=0) if largest else np.zeros(len(rows), rows.dtype)


def all_sums_fit(model: onnx.ModelProto) -> bool:
    """Whether no sum of ``model``, whatever its input, can overflow. Of quantised networks only those are
    known to be so whose products are convolutions and linear layers between QuantizeLinear and
    DequantizeLinear, with weights that were quantised beforehand, as `facekd.export` writes them."""
    nodes = model.graph.node
    if not any("Quantize" in node.op_type or _is_integer(node) for node in nodes):
        return not model.functions
    if model.functions or any(_is_integer(node) or _has_graph(node) for node in nodes):
        return False
    stored = {one.name: one for one in model.graph.initializer}
    made_of = {node.output[0]: node.input[0] for node in nodes if node.op_type == "DequantizeLinear"}
    return all(_fits(node, made_of, stored) for node in nodes if node.op_type in _PRODUCTS)


def _is_integer(node: onnx.NodeProto) -> bool:
    """Whether ``node`` computes with integers by itself: QLinearConv, MatMulInteger, ONNX Runtime's own."""
    return (
        node.op_type.startswith(("QLinear", "Dynamic"))
        or node.op_type.endswith("Integer")
        or bool(node.domain)
    )


def _has_graph(node: onnx.NodeProto) -> bool:
    return any(one.HasField("g") or one.graphs for one in node.attribute)


def _fits(node: onnx.NodeProto, made_of: Mapping[str, str], stored: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether no sum of ``node`` can overflow. Its inputs are ``made_of`` quantised values, or ``stored``."""
    from onnx import TensorProto, numpy_helper

    if not any(name in made_of for name in node.input):
        return True
    weights = node.input[1] if len(node.input) > 1 else ""
    if weights in stored:  # of real numbers: the layer is not computed in integers
        return True
    quantised = stored.get(made_of.get(weights, ""))
    if quantised is None or not has_weight_rows(node):
        return False
    if quantised.data_type == TensorProto.UINT8:  # products of two unsigned bytes are added in 32 bits
        return True
    return bool((largest_sums(numpy_helper.to_array(quantised)) <= LARGEST_SUM).all())


def has_weight_rows(node: onnx.NodeProto) -> bool:
    """Whether ``node`` has weights whose first dimension is the output channel."""
    if node.op_type == "Gemm":
        return any(one.name == "transB" and one.i for one in node.attribute)
    return node.op_type == "Conv"
