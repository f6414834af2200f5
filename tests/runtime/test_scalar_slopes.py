"""PRelu with one slope as LeakyRelu: the same numbers, and what stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from facekd.card import Card, EmbeddingSpec, InputSpec, LandmarkCrop, write_card
from facekd.errors import Unreadable
from facekd.runtime import load_embedder
from facekd.runtime.scalar_slopes import with_leaky_relu


def network(*slopes: np.ndarray, number: type = np.float32) -> onnx.ModelProto:
    """A convolution and a PRelu for each of ``slopes``, then a mean over blocks."""
    random = np.random.default_rng(0)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(number))
    stored, nodes, last = [], [], "planes"
    for place, slope in enumerate(slopes):
        shape = (8, 3 if place == 0 else 8, 3, 3)
        stored += [
            numpy_helper.from_array((random.normal(size=shape) / 5).astype(number), f"w{place}"),
            numpy_helper.from_array(slope.astype(number), f"s{place}"),
        ]
        nodes += [
            helper.make_node("Conv", [last, f"w{place}"], [f"c{place}"], pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("PRelu", [f"c{place}", f"s{place}"], [f"a{place}"], name=f"act{place}"),
        ]
        last = f"a{place}"
    nodes += [
        helper.make_node("AveragePool", [last], ["pooled"], kernel_shape=[7, 7], strides=[7, 7]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    side = 112 // 2 ** len(slopes) // 7
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("planes", kind, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", kind, ["N", 8 * side * side])], stored,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def answers(model: onnx.ModelProto, planes: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"planes": planes})[0]


@pytest.mark.parametrize("number", [np.float32, np.float16])
def test_the_numbers_are_the_same_whatever_the_slope(number: type) -> None:
    slopes = [np.full(shape, value) for shape, value in (((1,), 0.25), ((1, 1, 1), -0.5), ((1, 1, 1), 1.75))]
    model = network(*slopes, number=number)
    planes = np.random.default_rng(1).normal(size=(4, 3, 112, 112)).astype(number)
    before = answers(model, planes)
    assert with_leaky_relu(model)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node].count("LeakyRelu") == 3
    np.testing.assert_allclose(answers(model, planes), before, atol=1e-6 if number is np.float32 else 2e-3)


def test_a_slope_for_each_channel_stays() -> None:
    model = network(np.linspace(0, 1, 8).reshape(8, 1, 1), np.array([0.1]))
    assert with_leaky_relu(model)
    assert [node.op_type for node in model.graph.node if node.name] == ["PRelu", "LeakyRelu"]
    alone = network(np.linspace(0, 1, 8).reshape(8, 1, 1))
    before = alone.SerializeToString(deterministic=True)
    assert not with_leaky_relu(alone)
    assert alone.SerializeToString(deterministic=True) == before


def test_a_slope_that_may_be_given_or_lies_in_another_file_stays() -> None:
    given = network(np.array([0.1]))
    given.graph.input.append(helper.make_tensor_value_info("s0", TensorProto.FLOAT, [1]))
    assert not with_leaky_relu(given)
    elsewhere = network(np.array([0.1]))
    elsewhere.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert not with_leaky_relu(elsewhere)


def test_an_embedder_answers_as_the_file_does_and_keeps_its_space(tmp_path: Path) -> None:
    model = network(np.array([0.25]), np.array([0.1]))
    card = Card(
        name="x", architecture="x", input=InputSpec(), crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=model.graph.output[0].type.tensor_type.shape.dim[1].dim_value),
        licence="none",
    )  # fmt: skip
    pinned = write_card(model, card, tmp_path / "x.onnx")
    embedder = load_embedder(tmp_path / "x.onnx", threads=1)
    crops = np.random.default_rng(2).integers(0, 256, (3, 112, 112, 3), np.uint8)
    expected = answers(onnx.load(tmp_path / "x.onnx"), embedder.planes(crops))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(crops), expected, atol=1e-6)
    assert embedder.space == pinned.space


def test_integers_stay() -> None:
    model = network(np.array([0.1]))
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([2], np.int32), "s0"))
    assert not with_leaky_relu(model)


def test_a_model_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    model = network(np.array([0.1]))
    model.opset_import.append(helper.make_opsetid("nobody", 1))
    model.graph.node.append(helper.make_node("Unknown", ["embedding"], ["more"], domain="nobody"))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(Unreadable, match=r"odd\.onnx: ONNX Runtime cannot load it"):
        load_embedder(tmp_path / "odd.onnx", threads=1)
