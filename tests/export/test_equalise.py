"""Equalised channels: the same network, with ranges that suit one step for all channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from facekd.card import Card, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.export.equalise import equalise
from facekd.export.onnx_graph import run_graph, to_onnx
from facekd.models import build_model, to_planes


def graph_of(name: str, settled: Callable, **settings: int) -> onnx.ModelProto:
    net = settled(build_model(name, dim=24, **settings))
    # channels of very different ranges, as training leaves them
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data *= torch.exp(torch.randn_like(module.weight))
    card = Card(
        name="x", architecture="x", input=InputSpec(), crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=24), licence="none",
    )  # fmt: skip
    return to_onnx(net, card)


def activations(model: onnx.ModelProto, planes: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of all ReLU, by name."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    names = [node.output[0] for node in model.graph.node if node.op_type == "Relu"]
    del shown.graph.output[:]
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    import onnxruntime

    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"planes": planes}), strict=True))


def apart(value: np.ndarray) -> float:
    """How far the logarithms of the ranges of channels are apart."""
    ranges = np.percentile(np.abs(np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)), 99.9, axis=1)
    return float(np.log(ranges[ranges > 0]).std())


@pytest.mark.parametrize("name", ["plainres_small", "mobilefacenet"])
def test_the_network_is_the_same(name: str, settled: Callable, crops: np.ndarray) -> None:
    model = graph_of(name, settled)
    planes = to_planes(crops[:32], InputSpec()).numpy()
    before = model.SerializeToString()
    changed = equalise(model, planes)
    assert model.SerializeToString() == before
    weights = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in one.graph.initializer}
        for one in (model, changed)
    ]
    moved = [n for n, value in weights[0].items() if not np.allclose(value, weights[1][n], rtol=1e-3)]
    assert len(moved) > len(model.graph.node) / 8
    # other crops than those that showed the ranges
    other = to_planes(crops[32:], InputSpec()).numpy()
    np.testing.assert_allclose(run_graph(changed, other, 8), run_graph(model, other, 8), atol=2e-5)


def test_ranges_become_equal(settled: Callable, crops: np.ndarray) -> None:
    model = graph_of("plainres_small", settled)
    planes = to_planes(crops, InputSpec()).numpy()
    before, after = (activations(one, planes) for one in (model, equalise(model, planes)))
    # inside a block an activation shares its channels with what it is the ReLU of, a sum with what it adds
    summed = {name for node in model.graph.node if node.op_type == "Add" for name in node.input}
    relus = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    summed |= {relus[node.output[0]] for node in model.graph.node if node.op_type == "Add"}
    alone = [name for name in before if name not in summed]
    assert len(alone) >= 3
    for name in alone:
        assert apart(before[name]) > 0.5
        assert apart(after[name]) < apart(before[name]) / 2
    assert np.mean([apart(after[name]) / apart(before[name]) for name in before if name in summed]) < 0.8


def test_what_is_not_homogeneous_stays(crops: np.ndarray) -> None:
    """A sigmoid behind one convolution, and a weight that two layers share."""
    rng = np.random.default_rng(0)
    stored = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32) * 0.1, name)
        for name, shape in {
            "a": (4, 3, 3, 3),
            "b": (4, 4, 3, 3),
            "c": (4, 4, 3, 3),
            "d": (2, 4, 112, 112),
        }.items()
    ]
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["planes", "a"], ["x"], **pads),
        helper.make_node("Sigmoid", ["x"], ["y"]),
        helper.make_node("Conv", ["y", "b"], ["z"], **pads),
        helper.make_node("Relu", ["z"], ["u"]),
        helper.make_node("Conv", ["u", "c"], ["v"], **pads),
        helper.make_node("Relu", ["v"], ["w"]),
        helper.make_node("Conv", ["w", "c"], ["t"], **pads),
        helper.make_node("Conv", ["t", "d"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 2, 1, 1])],
        stored,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    planes = to_planes(crops[:8], InputSpec()).numpy()
    changed = equalise(model, planes)
    for one, other in zip(model.graph.initializer, changed.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))
