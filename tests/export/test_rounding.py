"""Weights that are rounded so that the output of their layer changes least."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from facekd.export.layer_inputs import InputMoments, crops_to_process, input_moments
from facekd.export.rounding import layers_to_round, read_once, round_layers, to_steps
from facekd.runtime import LARGEST_SUM, largest_sums, open_session

#: the share of the mean variance by which the covariance is damped
DAMPING = 0.01


def covariance_of(rows: NDArray) -> NDArray:
    return np.cov(rows.T, bias=True)


@pytest.fixture(scope="module")
def inputs() -> NDArray:
    """1,000 inputs of 48 values, which vary together."""
    draw = np.random.default_rng(1)
    return draw.normal(size=(1000, 12)) @ draw.normal(size=(12, 48)) + 0.2 * draw.normal(size=(1000, 48)) + 3


@pytest.fixture(scope="module")
def weights() -> NDArray:
    return np.random.default_rng(2).normal(size=(20, 48))


def error(inputs: NDArray, weights: NDArray, whole: NDArray, steps: NDArray) -> float:
    """The variance of what rounding adds to the output."""
    return float(((inputs - inputs.mean(0)) @ (weights - whole * steps[:, None]).T).var(0).sum())


def by_elimination(row: NDArray, covariance: NDArray) -> NDArray:
    """The same rounding with the inverse of what is left, updated after each weight (optimal brain surgeon:
    Hassibi & Stork, 1993), instead of one Cholesky factor."""
    left = row.copy()
    damped = covariance + DAMPING * np.trace(covariance) / len(row) * np.eye(len(row))
    inverse = np.linalg.inv(damped)
    for index in np.argsort(-np.diag(covariance), kind="stable"):
        rounded = np.clip(np.round(left[index]), -127, 127)
        left -= (left[index] - rounded) / inverse[index, index] * inverse[:, index]
        left[index] = rounded
        inverse -= np.outer(inverse[:, index], inverse[index]) / inverse[index, index]
        inverse[index] = inverse[:, index] = 0  # it is out; without this, errors of rounding would grow
    return left


def test_it_is_the_rounding_by_elimination(inputs: NDArray, weights: NDArray) -> None:
    covariance = covariance_of(inputs)
    whole, steps = to_steps(weights, covariance)
    np.testing.assert_allclose(steps, np.abs(weights).max(1) / 127)
    for row, step, found in zip(weights, steps, whole, strict=True):
        np.testing.assert_array_equal(found, by_elimination(row / step, covariance))


def test_the_output_changes_much_less(inputs: NDArray, weights: NDArray) -> None:
    by_itself = error(inputs, weights, *to_steps(weights, None))
    together = error(inputs, weights, *to_steps(weights, covariance_of(inputs)))
    assert together < 0.2 * by_itself


def test_inputs_that_vary_by_themselves_leave_nothing_to_make_up_for(weights: NDArray) -> None:
    alone, _ = to_steps(weights, np.diag(np.linspace(1, 2, 48)))
    nearest, steps = to_steps(weights, None)
    np.testing.assert_array_equal(alone, nearest)
    np.testing.assert_array_equal(nearest, np.round(weights / steps[:, None]))


def test_a_channel_or_a_layer_that_is_switched_off_is_rounded_too(inputs: NDArray, weights: NDArray) -> None:
    off = weights.copy()
    off[3] = 0
    whole, steps = to_steps(off, covariance_of(inputs))
    assert not whole[3].any()
    assert steps[3] > 0
    unread, _ = to_steps(weights, np.zeros((48, 48)))
    np.testing.assert_array_equal(unread, to_steps(weights, None)[0])


@pytest.mark.parametrize("shape", [(24, 16, 3, 3), (24, 9, 3, 3), (24, 40)])
def test_pairs_fit_on_any_processor_and_the_others_make_up_for_them(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(3)
    values = int(np.prod(shape[1:]))
    rows = draw.normal(size=(4 * values, 20)) @ draw.normal(size=(20, values))
    rows += 0.3 * draw.normal(size=rows.shape)
    weights = draw.normal(size=shape)
    weights[:, 4:6] *= 3  # neighbours that are too large together
    covariance = covariance_of(rows)
    whole, steps = to_steps(weights, covariance, any_processor=True)
    assert np.abs(whole).max() <= 127
    assert largest_sums(whole).max() == LARGEST_SUM
    nearest, same = to_steps(weights, None, any_processor=True)
    assert largest_sums(nearest).max() == LARGEST_SUM
    np.testing.assert_array_equal(steps, same)
    flat = [one.reshape(24, -1) for one in (weights, whole, nearest)]
    assert error(rows, flat[0], flat[1], steps) < 0.5 * error(rows, flat[0], flat[2], steps)


class Net(nn.Module):
    """Convolutions of several kinds, one of them used twice, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=(0, 1))
        self.wide = nn.Conv2d(6, 8, (3, 2), dilation=(2, 1), padding=1)
        self.twice = nn.Conv2d(8, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 3, groups=2)
        self.pool = nn.AvgPool2d((2, 4))
        self.middle, self.last = nn.Linear(32, 16), nn.Linear(16, 4)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        x = self.wide(torch.relu(self.first(planes)))
        x = self.grouped(torch.relu(self.twice(torch.relu(self.twice(x)))))
        out: torch.Tensor = self.last(torch.relu(self.middle(self.pool(x).flatten(1))))
        return out


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def graph(net: Net) -> onnx.ModelProto:
    buffer = io.BytesIO()
    torch.onnx.export(
        net, (torch.zeros(1, 3, 20, 18),), buffer, input_names=["planes"], dynamo=False,
        dynamic_axes={"planes": {0: "n"}},
    )  # fmt: skip
    return onnx.load_from_string(buffer.getvalue())


@pytest.fixture(scope="module")
def some_planes() -> NDArray[np.float32]:
    return np.random.default_rng(4).normal(size=(60, 3, 20, 18)).astype(np.float32)


def layer(graph: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in graph.graph.node if name in " ".join(node.input))


def test_moments_are_those_of_the_unfolded_maps(
    net: Net, graph: onnx.ModelProto, some_planes: NDArray[np.float32]
) -> None:
    """Fewer inputs than are wanted, so that every place counts."""
    layers = layers_to_round(graph, [])
    assert len(layers) == 6
    found = input_moments(graph, layers, some_planes)
    assert layer(graph, "grouped").name not in found
    with torch.no_grad():
        maps = torch.relu(net.first(torch.from_numpy(some_planes)))
        made = nn.functional.unfold(maps, (3, 2), dilation=(2, 1), padding=1)
        rows = made.transpose(1, 2).reshape(-1, 36).double().numpy()
    assert len(rows) < 8192
    told = found[layer(graph, "wide").name]
    np.testing.assert_allclose(told.mean, rows.mean(0), atol=1e-5)
    np.testing.assert_allclose(told.covariance, covariance_of(rows), atol=1e-4)
    first = found[layer(graph, "first").name]
    made = nn.functional.unfold(torch.from_numpy(some_planes), 3, stride=2, padding=(0, 1))
    rows = made.transpose(1, 2).reshape(-1, 27).double().numpy()
    np.testing.assert_allclose(first.covariance, covariance_of(rows), atol=1e-4)


def test_of_many_places_some_are_drawn(graph: onnx.ModelProto) -> None:
    large = np.random.default_rng(5).normal(size=(300, 3, 20, 18)).astype(np.float32)
    first = layer(graph, "first")
    told = input_moments(graph, [first], large)[first.name]
    # of 24,300 places the first ones of each batch would all be in one corner
    with torch.no_grad():
        made = nn.functional.unfold(torch.from_numpy(large), 3, stride=2, padding=(0, 1))
    rows = made.transpose(1, 2).reshape(-1, 27).double().numpy()
    assert len(rows) > 2 * 8192
    np.testing.assert_allclose(told.mean, rows.mean(0), atol=0.05)
    np.testing.assert_allclose(told.covariance, covariance_of(rows), atol=0.06)
    assert not np.allclose(told.covariance, covariance_of(rows), atol=1e-4)


def test_too_few_inputs_tell_nothing(graph: onnx.ModelProto, some_planes: NDArray[np.float32]) -> None:
    """The linear layer has 32 values and 60 inputs."""
    middle = layer(graph, "middle")
    assert input_moments(graph, [middle], some_planes) == {}
    many = np.concatenate([some_planes, some_planes[:, :, ::-1]])
    assert list(input_moments(graph, [middle], many)) == [middle.name]


def test_progress_counts_every_crop(graph: onnx.ModelProto, some_planes: NDArray[np.float32]) -> None:
    done: list[int] = []
    layers = layers_to_round(graph, [])
    input_moments(graph, layers, some_planes, done.append)
    assert sum(done) == crops_to_process(graph, layers, some_planes) == 60


def test_layers_are_rounded_once_and_only_if_they_are_named(
    graph: onnx.ModelProto, some_planes: NDArray[np.float32]
) -> None:
    everything = layers_to_round(graph, [])
    assert [node.input[1].split(".")[0] for node in everything] == [
        "first", "wide", "twice", "grouped", "middle", "last",
    ]  # fmt: skip
    first = layer(graph, "first")
    layers = layers_to_round(graph, [first.name])
    assert len(layers) == 5
    assert layer(graph, "twice").name not in {node.name for node in read_once(graph, layers)}
    moments = input_moments(graph, read_once(graph, layers), some_planes)
    rounded = round_layers(graph, layers, moments, any_processor=False)
    before, after = (
        {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        for model in (graph, rounded.model)
    )
    np.testing.assert_array_equal(after["first.weight"], before["first.weight"])
    assert set(rounded.ranges) == {node.input[1] for node in layers}
    for name, ranges in rounded.ranges.items():
        steps = np.array([one["rmax"] for one in ranges]) / 127
        whole = after[name] / steps.reshape(-1, *[1] * (after[name].ndim - 1))
        np.testing.assert_allclose(whole, np.round(whole), atol=1e-3)
        bias = name.replace("weight", "bias")
        # the inputs of the others were not measured: used twice, grouped, or too few
        assert np.array_equal(after[bias], before[bias]) == (name not in ("wide.weight", "last.weight"))


def test_the_bias_keeps_the_mean_of_the_output(
    graph: onnx.ModelProto, some_planes: NDArray[np.float32]
) -> None:
    wide = layer(graph, "wide")
    moments = input_moments(graph, [wide], some_planes)
    rounded = round_layers(graph, [wide], moments, any_processor=False).model
    means = []
    for model in (graph, rounded):
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        shown.graph.output.append(onnx.helper.make_empty_tensor_value_info(wide.output[0]))
        (maps,) = open_session(shown.SerializeToString()).run([wide.output[0]], {"planes": some_planes})
        means.append(maps.mean((0, 2, 3), dtype=np.float64))
    np.testing.assert_allclose(*means, atol=1e-6)


def test_moments_of_rows_far_from_zero_are_exact() -> None:
    rows = np.random.default_rng(6).normal(size=(500, 5)).astype(np.float32) + np.float32(1000)
    told = InputMoments.of(rows)
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(told.mean, exact.mean(0), rtol=1e-7)
    np.testing.assert_allclose(told.covariance, covariance_of(exact), atol=1e-4)
