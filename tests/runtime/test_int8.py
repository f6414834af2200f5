"""int8 networks give the same answers on every processor, with or without VNNI."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facekd.export.pair_limits import cut_pairs
from facekd.runtime import LARGEST_SUM, all_sums_fit, largest_sums, neighbouring_weights, open_session
from facekd.weights import shipped_model


def convolution(weights: NDArray[np.int8], side: int, step: float, groups: int = 1) -> bytes:
    """A quantised convolution of bytes; its outputs are around 128, in steps of ``step``."""
    outputs, inputs = len(weights), weights.shape[1] * groups
    stored: dict[str, np.generic | NDArray] = {
        "one": np.float32(1), "zero": np.uint8(0), "weights": weights, "scales": np.ones(outputs, np.float32),
        "zeros": np.zeros(outputs, np.int8), "step": np.float32(step), "middle": np.uint8(128),
    }  # fmt: skip
    node = helper.make_node(
        "QLinearConv",
        ["x", "one", "zero", "weights", "scales", "zeros", "step", "middle"],
        ["y"],
        pads=[weights.shape[-1] // 2] * 4,
        group=groups,
    )
    graph = helper.make_graph(
        [node], "convolution",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, inputs, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, outputs, side, side])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def by_definition(x: NDArray[np.uint8], weights: NDArray[np.int8], groups: int = 1) -> NDArray[np.float64]:
    """The exact sums of the convolution."""
    exact = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(weights.astype(np.float64))
    return torch.conv2d(*exact, padding=weights.shape[-1] // 2, groups=groups)[0].numpy()


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


@pytest.mark.parametrize(
    ("inputs", "side", "groups"),
    [(32, 3, 1), (32, 1, 1), (3, 3, 1), (5, 3, 1), (33, 1, 1), (16, 3, 4), (1, 3, 16), (1, 7, 16)],
)
@pytest.mark.parametrize("map_side", [14, 7])
def test_weights_that_fit_need_no_shift(inputs: int, side: int, groups: int, map_side: int) -> None:
    """The largest weights that `all_sums_fit` allows, on the largest inputs, without the session's option."""
    chance = np.random.default_rng(inputs)
    weights = chance.integers(-128, 128, (16, inputs, side, side)).astype(np.int64)
    cut, steps = cut_pairs(weights)
    rounded = np.round(cut / steps[:, None, None, None]).astype(np.int8)
    assert (largest_sums(rounded) <= LARGEST_SUM).all()
    if inputs > 1:
        assert largest_sums(rounded).max() >= LARGEST_SUM - 1
    for x in (
        np.full((1, inputs * groups, map_side, map_side), 255, np.uint8),
        chance.choice(np.array([0, 255], np.uint8), (1, inputs * groups, map_side, map_side)),
    ):
        sums = by_definition(x, rounded, groups)
        step = float(np.abs(sums).max()) / 120
        session = open_session(convolution(rounded, map_side, step, groups), threads=1, sums_fit=True)
        (found,) = session.run(None, {"x": x})
        assert np.abs(found[0].astype(float) - (sums / step + 128)).max() <= 0.51


def _model(weights: str, body: str, number: str = "int8") -> onnx.ModelProto:
    """x float [1, 2] through ``body``. ``weights`` [2, 2] of a ``number`` type are stored as w8, and as w."""
    return onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>
        g (float[1, 2] x) => (float[1, 2] y)
        <float one = {{1}}, {number} zero = {{0}}, uint8 none = {{0}}, {number}[2, 2] w8 = {{{weights}}},
         float[2, 2] w = {{{weights}}}>
        {{ {body} }}""")


_INPUT = "q = QuantizeLinear(x, one, none) a = DequantizeLinear(q, one, none)"
_ROWS = f"{_INPUT} b = DequantizeLinear(w8, one, zero) y = Gemm<transB = 1>(a, b)"


@pytest.mark.parametrize(
    ("model", "fits"),
    [
        (_model("64, 64, -127, 127", _ROWS), True),
        (_model("64, 65, 0, 0", _ROWS), False),
        (_model("0, 0, -64, -65", _ROWS), False),
        (_model("200, 200, 0, 0", _ROWS, "uint8"), True),
        (_model("64, 65, 0, 0", "y = Gemm<transB = 1>(x, w)"), True),
        (_model("64, 65, 0, 0", f"{_INPUT} y = Gemm<transB = 1>(a, w)"), True),
        # of other kinds nothing is known, although these weights would fit
        (_model("64, 64, 0, 0", f"{_INPUT} b = DequantizeLinear(w8, one, zero) y = MatMul(a, b)"), False),
        (_model("64, 64, 0, 0", f"{_INPUT} b = DequantizeLinear(w8, one, zero) y = Gemm(a, b)"), False),
        (
            _model(
                "64, 64, 0, 0",
                f"{_INPUT} c = QuantizeLinear(w, one, zero) b = DequantizeLinear(c, one, zero) "
                "y = Gemm<transB = 1>(a, b)",
            ),
            False,
        ),
        (_model("64, 64, 0, 0", "y = com.microsoft.DynamicQuantizeMatMul(x, w8, one)"), False),
    ],
)
def test_networks_that_need_no_shift_are_known(model: onnx.ModelProto, fits: bool) -> None:
    assert all_sums_fit(model) is fits


@pytest.mark.parametrize("shape", [(4,), (5,), (1,), (4, 3, 3), (3, 3, 3), (3, 1, 1), (1, 3, 3)])
def test_neighbours_are_read_one_after_the_other(shape: tuple[int, ...]) -> None:
    inputs, height, width = (*shape, 1, 1)[:3]
    places = [(row, column) for row in range(height) for column in range(width)]
    read = [(channel * height + row) * width + column for row, column in places for channel in range(inputs)]
    wanted = set(zip(read[::2], read[1::2], strict=False))
    if inputs % 2:  # or each place by itself
        alone = [read[n : n + inputs] for n in range(0, len(read), inputs)]
        wanted |= {pair for one in alone for pair in zip(one[::2], one[1::2], strict=False)}
    if inputs == 1 and len(shape) > 1:
        wanted = set()  # depthwise
    assert {(int(a), int(b)) for way in neighbouring_weights(shape) for a, b in way} == wanted


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
