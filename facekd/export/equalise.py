"""Equalise the ranges of the channels of every activation, without changing the network's output.

An activation is quantised with one step size for all its channels, so a channel of small values gets few of
the 256 levels. ReLU, PReLU and sums are positively homogeneous: dividing a channel by s > 0 where it is
computed, and multiplying its weights by s where it is used, leaves the output unchanged (cross-layer
equalisation: Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV
2019, section 4.1). Here the channels are those of a whole residual stage, which sums couple, and s is the
range of real activations alone: weights have a step size for each output channel, so their ranges do not
matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from facekd.export.activations import activations
from facekd.export.onnx_graph import settings

#: the percentile of absolute values that counts as a channel's range
_PERCENTILE = 99.9
#: the largest factor by which a channel is scaled
_LARGEST = 16.0

Planes = NDArray[np.float32]
Floats = NDArray[np.float64]
#: operators with f(s x) = s f(x) for s > 0 in each channel, and those that only change the shape
_HOMOGENEOUS = ("Relu", "PRelu", "Reshape", "Flatten")
_BATCH = 64


@dataclass
class _Channels:
    """Activations that share their channels: the layers (indices of nodes) that compute them (``made``), use
    them, or pass them on (``within``), and whether they must stay as they are (``fixed``)."""

    tensors: set[str] = field(default_factory=set)
    made: list[int] = field(default_factory=list)
    within: list[int] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    fixed: bool = False


def equalise(model: onnx.ModelProto, planes: Planes) -> onnx.ModelProto:
    """``model`` with equalised channels; the ranges are measured on ``planes`` float32 [N, 3, S, S] of real
    crops.

    Channels that are read or written by another kind of operator (such as a sigmoid), that belong to the
    input or the output, or whose weights are shared by two layers, stay as they are.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weights, nodes = _Weights(changed), changed.graph.node
    groups = [group for group in _groups(changed, weights) if group.made and group.used and not group.fixed]
    ranges = _ranges(changed, sorted(name for group in groups for name in group.tensors), planes)
    for group in groups:
        own = [ranges[name] for name in sorted(group.tensors)]
        if len({len(found) for found in own}) > 1:  # a reshape changed the number of channels
            continue
        scale = np.exp(np.mean([_spread(found) for found in own], axis=0))
        scale = scale.clip(1 / _LARGEST, _LARGEST)
        for index in group.made:
            weights.divide_rows(nodes[index], scale)
        for index in group.within:
            weights.divide_bias(nodes[index], scale)
        for index in group.used:
            weights.multiply_columns(nodes[index], scale)
    weights.store()
    return changed


def _spread(ranges: Floats) -> Floats:
    """The logarithms of the channels' ranges minus their mean; 0 for a channel that is always zero."""
    logarithms = np.log(np.where(ranges > 0, ranges, np.nan))
    if np.isnan(logarithms).all():
        return np.zeros(len(ranges))
    found: Floats = np.nan_to_num(logarithms - np.nanmean(logarithms))
    return found


class _Weights:
    """The weights of a graph, changed in float64 and stored at the end."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._values: dict[str, Floats] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._stored

    def of(self, name: str) -> Floats:
        if name not in self._values:
            self._values[name] = numpy_helper.to_array(self._stored[name]).astype(np.float64)
        return self._values[name]

    def divide_rows(self, node: onnx.NodeProto, scale: Floats) -> None:
        weight = self.of(node.input[1])
        weight /= scale.reshape(-1, *[1] * (weight.ndim - 1))
        self.divide_bias(node, scale)

    def divide_bias(self, node: onnx.NodeProto, scale: Floats) -> None:
        if len(node.input) > 2 and node.input[2]:
            bias = self.of(node.input[2])
            bias /= scale

    def multiply_columns(self, node: onnx.NodeProto, scale: Floats) -> None:
        weight = self.of(node.input[1])
        weight *= scale.reshape(1, -1, *[1] * (weight.ndim - 2))

    def store(self) -> None:
        for name, value in self._values.items():
            self._stored[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))


def _groups(model: onnx.ModelProto, weights: _Weights) -> list[_Channels]:
    """The sets of activations that share channels."""
    graph, all_groups = model.graph, _Groups()
    uses = Counter(name for node in graph.node for name in node.input)
    for index, node in enumerate(graph.node):
        read = [name for name in node.input if name and name not in weights]
        if not read:  # computed from constants only
            continue
        kind = _kind(node, weights)
        shared = any(uses[name] > 1 for name in node.input[1:] if name in weights)
        if kind == "other" or (shared and kind in ("layer", "within")):
            for name in (*read, *node.output):
                all_groups.of(name).fixed = True
        elif kind == "layer":
            all_groups.of(node.output[0]).made.append(index)
            all_groups.of(read[0]).used.append(index)
        else:
            joined = all_groups.of(*read, node.output[0])
            if kind == "within":
                joined.within.append(index)
    for value in (*graph.input, *graph.output):
        all_groups.of(value.name).fixed = True
    return all_groups.different()


class _Groups:
    """The group of each activation."""

    def __init__(self) -> None:
        self._of: dict[str, _Channels] = {}

    def of(self, *names: str) -> _Channels:
        """The group of these activations; if they had several, these are merged."""
        first, *others = [self._of.setdefault(name, _Channels({name})) for name in names]
        for other in others:
            if other is first:
                continue
            first.tensors |= other.tensors
            first.made += other.made
            first.within += other.within
            first.used += other.used
            first.fixed |= other.fixed
            self._of.update(dict.fromkeys(other.tensors, first))
        return first

    def different(self) -> list[_Channels]:
        return list({id(group): group for group in self._of.values()}.values())


def _kind(node: onnx.NodeProto, weights: _Weights) -> str:
    """What ``node`` does with channels: a "layer" mixes them, "within" is a depthwise convolution,
    "homogeneous" is a positively homogeneous function of each channel, "other" anything else."""
    given = settings(node)
    constant = len(node.input) > 1 and node.input[1] in weights
    if node.op_type == "Conv" and constant:
        outputs, inputs = weights.of(node.input[1]).shape[:2]
        if given.get("group", 1) == 1:
            return "layer"
        return "within" if inputs == 1 and outputs == given["group"] else "other"
    if node.op_type == "Gemm" and constant:
        plain = given.get("alpha", 1) == given.get("beta", 1) == given.get("transB", 0) == 1
        return "layer" if plain and not given.get("transA", 0) else "other"
    if node.op_type == "Add":  # adding a constant is not homogeneous
        return "other" if any(name in weights for name in node.input) else "homogeneous"
    return "homogeneous" if node.op_type in _HOMOGENEOUS else "other"


def _ranges(model: onnx.ModelProto, names: Sequence[str], planes: Planes) -> dict[str, Floats]:
    """The range of every channel of the activations ``names``."""
    found: dict[str, list[Floats]] = {name: [] for name in names}
    for some in activations(model, names, planes, _BATCH) if names else ():
        for name, value in some.items():
            flat = np.abs(np.moveaxis(value, 1, 0).reshape(value.shape[1], -1))
            found[name].append(np.percentile(flat, _PERCENTILE, axis=1))
    return {name: np.mean(parts, axis=0) for name, parts in found.items()}
