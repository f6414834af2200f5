"""Counts against what a hand finds in small graphs, and against nets whose counts are published."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_model import write_tiny_model

from facekd.benchmark import count_model
from facekd.benchmark.counts import count_macs, count_parameters
from facekd.errors import InputOutput, Unreadable


def net(
    nodes: list, weights: dict[str, np.ndarray], output: list, shape: tuple = ("N", 3, 16, 16)
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def convolutions(batch: int | str = "N") -> onnx.ModelProto:
    """A strided convolution, a depthwise one, a pooling and a fully connected layer."""
    nodes = [
        helper.make_node(
            "Conv", ["x", "w1", "b1"], ["a"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Conv", ["a", "w2"], ["b"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "w3", "b3"], ["y"], transB=1),
    ]
    weights = {
        "w1": floats(8, 3, 3, 3),
        "b1": floats(8),
        "w2": floats(8, 1, 3, 3),
        "w3": floats(5, 8),
        "b3": floats(5),
    }
    return net(nodes, weights, [batch, 5], (batch, 3, 16, 16))


# 8 x 8 outputs; a multiplication for every kernel element that an output sees
CONVOLUTION_MACS = 8 * 8 * 8 * (3 * 3 * 3) + 8 * 8 * 8 * (3 * 3) + 5 * 8
CONVOLUTION_PARAMETERS = 8 * 27 + 8 + 8 * 9 + 5 * 8 + 5


def test_convolutions_and_gemm() -> None:
    assert count_macs(convolutions(), 16) == CONVOLUTION_MACS
    assert count_parameters(convolutions()) == CONVOLUTION_PARAMETERS


def test_a_file_with_a_fixed_batch_counts_one_crop() -> None:
    assert count_macs(convolutions(batch=4), 16) == CONVOLUTION_MACS


def test_products_of_activations_and_shapes_that_the_graph_computes() -> None:
    """An attention-like product in a graph whose shapes ONNX's static inference cannot follow."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["q"]),
        helper.make_node("Transpose", ["q"], ["k"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("ReduceSum", ["scores", "last"], ["y"], keepdims=0),
    ]
    weights = {"first": np.array([0]), "rest": np.array([24, 32]), "last": np.array([2])}
    model = net(nodes, weights, ["N", 24])
    assert count_macs(model, 16) == 24 * 32 * 24
    assert count_parameters(model) == 0, "shapes and axes are no parameters"


def test_transposed_convolution_and_transposed_gemm() -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["up"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["up"], ["row"]),
        helper.make_node("Transpose", ["row"], ["column"], perm=[1, 0]),
        helper.make_node("Gemm", ["column", "v"], ["y"], transA=1),
    ]
    model = net(nodes, {"w": floats(3, 4, 2, 2), "v": floats(4 * 32 * 32, 6)}, ["N", 6])
    assert count_macs(model, 16) == 3 * 16 * 16 * (4 * 2 * 2) + 4 * 32 * 32 * 6


def test_running_statistics_and_single_constants_are_not_parameters() -> None:
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    offsets = helper.make_tensor("offsets", TensorProto.FLOAT, [3, 1, 1], [1, 2, 3])
    nodes = [
        helper.make_node("Constant", [], ["h"], value=half),
        helper.make_node("Constant", [], ["o"], value=offsets),
        helper.make_node("Mul", ["x", "h"], ["a"]),
        helper.make_node("Add", ["a", "o"], ["b"]),
        helper.make_node("BatchNormalization", ["b", "scale", "bias", "mean", "var"], ["c"]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    names = ("scale", "bias", "mean", "var")
    assert count_parameters(net(nodes, {n: floats(3) for n in names}, ["N", 768])) == 3 + 3 + 3


def test_quantised_weights_are_parameters_and_their_scales_are_not() -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["row"]),
        helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["row", "w"], ["y"]),
    ]
    weights = {"w8": np.ones((768, 10), np.int8), "scale": np.float32(0.1), "zero": np.int8(0)}
    model = net(nodes, {k: np.asarray(v) for k, v in weights.items()}, ["N", 10])
    assert count_parameters(model) == 7680
    assert count_macs(model, 16) == 7680


def test_a_file_and_an_ensemble(tmp_path: Path) -> None:
    one, two = write_tiny_model(tmp_path / "a.onnx", dim=32), write_tiny_model(tmp_path / "b.onnx", dim=8)
    counts = count_model(one)
    assert (counts.parameters, counts.macs) == (3 * 14 * 14 * 32, 3 * 14 * 14 * 32)
    assert (counts.dim, counts.template_bytes) == (32, 128)
    assert counts.file_bytes == one.stat().st_size
    (tmp_path / "both.toml").write_text('models = ["a.onnx", "b.onnx"]')
    both = count_model(tmp_path / "both.toml")
    assert both.parameters == 3 * 14 * 14 * 40
    assert (both.dim, both.template_bytes) == (40, 160)
    assert both.file_bytes == one.stat().st_size + two.stat().st_size


def test_operators_that_are_not_counted_are_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["row"]),
        helper.make_node("Einsum", ["row", "w"], ["y"], equation="nd,dk->nk"),
    ]
    side = 112 * 112 * 3
    model = net(nodes, {"w": floats(side, 2)}, ["N", 2], ("N", 3, 112, 112))
    onnx.save(model, tmp_path / "einsum.onnx")
    counts = count_model(tmp_path / "einsum.onnx")
    assert (counts.macs, counts.uncounted) == (0, ("Einsum",))


def test_no_file_and_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputOutput):
        count_model(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(Unreadable):
        count_model(tmp_path / "text.onnx")
    (tmp_path / "list.toml").write_text("models = 3")
    with pytest.raises(Unreadable):
        count_model(tmp_path / "list.toml")


@pytest.mark.needs_faces
@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    # EdgeFace XS and XXS: 196.9 and 94.7 million operations in its authors' table, two to a
    # multiply-add; MobileFaceNet: 221 million multiply-adds in its paper
    [("edgeface_xs", 2.24e6, 98.4e6), ("edgeface_xxs", 1.24e6, 47.4e6), ("mobilefacenet_y1", 1.00e6, 221e6)],
)
def test_known_nets(faces: Path, name: str, parameters: float, macs: float) -> None:
    counts = count_model(faces / "models" / f"{name}.onnx")
    assert counts.parameters == pytest.approx(parameters, rel=0.005)
    assert counts.macs == pytest.approx(macs, rel=0.005)
