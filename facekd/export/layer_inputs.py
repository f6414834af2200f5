"""The mean and the covariance of what the layers of a graph read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from facekd.export.activations import activations
from facekd.export.onnx_graph import settings

Planes = NDArray[np.float32]
Floats = NDArray[np.float64]
#: the fewest inputs of a layer for each of their values: with fewer, a covariance is mostly chance
FOR_EACH_VALUE = 3
#: the inputs of a layer that are measured: this many for each of their values, and at least so many
_WANTED_FOR_EACH, _LEAST_WANTED = 8, 8192
#: the most values of an input: the covariance of more takes gigabytes
_MOST_VALUES = 8192
#: the most memory for the sums of the layers that are measured in one pass
_MOST_BYTES = 2**30
_BATCH = 8


@dataclass(frozen=True)
class InputMoments:
    """The ``mean`` [K] and the ``covariance`` [K, K] of the inputs of one output of a layer, in the order of
    its flattened weights."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, rows: NDArray) -> InputMoments:
        """The moments of ``rows`` [N, K]."""
        return _Sums().add(rows).moments()


def input_moments(
    model: onnx.ModelProto,
    layers: Sequence[onnx.NodeProto],
    planes: Planes,
    advance: Callable[[int], object] = lambda done: None,
) -> dict[str, InputMoments]:
    """The moments of the inputs of ``layers``, by the node's name, on ``planes`` float32 [N, 3, S, S].

    Left out are depthwise and grouped convolutions, layers whose inputs have more than 8,192 values, and
    those with fewer than three inputs for each value. ``advance`` receives the number of further crops
    processed, of `crops_to_process`.
    """
    found: dict[str, InputMoments] = {}
    for some in _passes(model, layers):
        sums = {node.name: _Sums() for node in some}
        for node, inputs in _inputs(model, some, planes, advance):
            sums[node.name].add(inputs)
        found |= {name: one.moments() for name, one in sums.items() if one.enough()}
    return found


def crops_to_process(model: onnx.ModelProto, layers: Sequence[onnx.NodeProto], planes: Planes) -> int:
    """How many crops `input_moments` processes: all of them once or, for a large network, several times."""
    return len(_passes(model, layers)) * len(planes)


class _Sums:
    """Sums of inputs and of their products, relative to the first inputs' mean."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, inputs: NDArray) -> _Sums:
        if not self.count:
            self._centre = inputs.mean(axis=0, dtype=np.float64)
            self._first = np.zeros_like(self._centre)
            self._second = np.zeros((len(self._centre),) * 2)
        moved = inputs - self._centre.astype(np.float32)
        self.count += len(moved)
        self._first += moved.sum(axis=0, dtype=np.float64)
        self._second += moved.T @ moved
        return self

    def enough(self) -> bool:
        return self.count > 0 and self.count >= FOR_EACH_VALUE * len(self._first)

    def moments(self) -> InputMoments:
        mean = self._first / self.count
        return InputMoments(self._centre + mean, self._second / self.count - np.outer(mean, mean))


def _passes(model: onnx.ModelProto, layers: Sequence[onnx.NodeProto]) -> list[list[onnx.NodeProto]]:
    """The ``layers`` that are measured, in groups whose sums fit into memory."""
    shapes = _weight_shapes(model)
    groups: list[list[onnx.NodeProto]] = []
    free = 0
    for node in layers:
        shape = shapes[node.input[1]]
        values = int(np.prod(shape[1:]))
        if values > _MOST_VALUES or not _is_dense(node, shape):
            continue
        needed = 8 * values**2
        if needed > free:
            groups.append([])
            free = max(_MOST_BYTES, needed)
        groups[-1].append(node)
        free -= needed
    return groups


def _weight_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}


def _is_dense(node: onnx.NodeProto, shape: Sequence[int]) -> bool:
    """Whether every output of a layer with weights of ``shape`` reads all input channels, at places of a map
    that its settings state."""
    given = settings(node)
    if node.op_type == "Gemm":
        return given.get("transA", 0) == 0 and given.get("alpha", 1) == given.get("beta", 1) == 1
    stated = given.get("auto_pad", b"NOTSET") == b"NOTSET"
    return len(shape) == 4 and given.get("group", 1) == 1 and stated


def _inputs(
    model: onnx.ModelProto,
    layers: Sequence[onnx.NodeProto],
    planes: Planes,
    advance: Callable[[int], object],
) -> Iterator[tuple[onnx.NodeProto, Planes]]:
    """Inputs [N, K] of each of ``layers``, batch by batch; of a convolution those at some places, drawn at
    random."""
    shapes, draw = _weight_shapes(model), np.random.default_rng(0)
    for maps in activations(model, [node.input[0] for node in layers], planes, _BATCH):
        count = len(next(iter(maps.values())))
        for node in layers:
            shape = shapes[node.input[1]]
            wanted = max(_WANTED_FOR_EACH * int(np.prod(shape[1:])), _LEAST_WANTED)
            share = -(-wanted * count // len(planes))
            yield node, _read(maps[node.input[0]], node, shape, share, draw)
        advance(count)


def _read(
    maps: Planes, node: onnx.NodeProto, shape: Sequence[int], most: int, draw: np.random.Generator
) -> Planes:
    """At most ``most`` inputs [N, K] that ``node``, with weights of ``shape``, reads from ``maps``."""
    if node.op_type == "Gemm":
        return maps
    given = settings(node)
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    down, along = given.get("strides", (1, 1))
    rows, columns = given.get("dilations", (1, 1))
    height, width = shape[2:]
    padded = np.pad(maps, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = (rows * (height - 1) + 1, columns * (width - 1) + 1)
    windows = sliding_window_view(padded, reach, axis=(2, 3))[:, :, ::down, ::along, ::rows, ::columns]
    count, _, high, wide = windows.shape[:4]
    chosen = draw.permutation(count * high * wide)[:most]
    picked = windows[chosen // (high * wide), :, chosen // wide % high, chosen % wide]
    return picked.reshape(len(chosen), -1)
