"""int8 networks give the same answers on every processor, with or without VNNI."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facekd.runtime import open_session
from facekd.weights import shipped_model


def convolution(weights: NDArray[np.int8], side: int, step: float) -> bytes:
    """A quantised 3 x 3 convolution of bytes; its outputs are around 128, in steps of ``step``."""
    outputs, inputs = weights.shape[:2]
    stored: dict[str, np.generic | NDArray] = {
        "one": np.float32(1), "zero": np.uint8(0), "weights": weights, "scales": np.ones(outputs, np.float32),
        "zeros": np.zeros(outputs, np.int8), "step": np.float32(step), "middle": np.uint8(128),
    }  # fmt: skip
    node = helper.make_node(
        "QLinearConv",
        ["x", "one", "zero", "weights", "scales", "zeros", "step", "middle"],
        ["y"],
        pads=[1] * 4,
    )
    graph = helper.make_graph(
        [node], "convolution",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, inputs, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, outputs, side, side])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def by_definition(x: NDArray[np.uint8], weights: NDArray[np.int8]) -> NDArray[np.int64]:
    """The exact sums of the convolution."""
    padded = np.pad(x[0].astype(np.int64), ((0, 0), (1, 1), (1, 1)))
    side, sums = x.shape[-1], np.zeros((len(weights), *x.shape[2:]), np.int64)
    for row in range(3):
        for column in range(3):
            seen = padded[:, row : row + side, column : column + side]
            sums += np.tensordot(weights[:, :, row, column].astype(np.int64), seen, axes=1)
    return sums


@pytest.mark.parametrize("kind", ["largest", "random"])
def test_sums_of_products_do_not_overflow(kind: str) -> None:
    chance = np.random.default_rng(0)
    x, weights = np.full((1, 32, 14, 14), 255, np.uint8), np.full((8, 32, 3, 3), 127, np.int8)
    if kind == "random":
        x = chance.integers(0, 256, x.shape, np.uint8)
        weights = chance.integers(-128, 128, weights.shape, np.int8)
    sums = by_definition(x, weights)
    step = float(np.abs(sums).max()) / 120
    (found,) = open_session(convolution(weights, 14, step), threads=1).run(None, {"x": x})
    assert np.abs(found[0].astype(float) - (sums / step + 128)).max() <= 0.51


def test_the_shipped_student_is_the_same_with_weights_that_cannot_overflow() -> None:
    shipped = shipped_model()
    if shipped is None:
        pytest.skip("no student came with this facekd")
    model = onnx.load(str(shipped))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    quantised = [
        node.input for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in stored and stored[node.input[0]].data_type == TensorProto.INT8
    ]  # fmt: skip
    assert quantised
    for weights, _, zero in quantised:
        shifted = numpy_helper.to_array(stored[weights]).astype(np.int16) + 128
        stored[weights].CopyFrom(numpy_helper.from_array(shifted.astype(np.uint8), weights))
        middle = np.full_like(numpy_helper.to_array(stored[zero]), 128, np.uint8)
        stored[zero].CopyFrom(numpy_helper.from_array(middle, zero))
    planes = np.random.default_rng(0).normal(size=(4, 3, 112, 112)).astype(np.float32)
    given, wanted = (
        open_session(one, threads=1).run(None, {"planes": planes})[0]
        for one in (str(shipped), model.SerializeToString())
    )
    assert np.abs(given - wanted).max() < 1e-5
