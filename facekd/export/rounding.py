"""Round the weights of each layer so that its output changes least on real crops.

Rounded each to its nearest step, weights make errors that add up wherever inputs vary together. Here they are
rounded input by input, and those that are not yet rounded make up for the errors of those that are, by the
covariance of the inputs (Frantar et al., "GPTQ: Accurate post-training quantization for generative
pre-trained transformers", ICLR 2023, algorithm 1). The bias makes up for the mean error (Nagel et al.,
"Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from facekd.export.layer_inputs import InputMoments
from facekd.export.pair_limits import STEPS, cut_pairs, finest_steps
from facekd.runtime import LARGEST_SUM, has_weight_rows, neighbouring_weights

Floats = NDArray[np.float64]
#: added to the variance of every input, as a share of their mean, so that the covariance has an inverse
_DAMPING = 1e-2
#: the inputs that are rounded before the weights of all further ones are changed
_BLOCK = 64


@dataclass
class Rounded:
    """A ``model`` with weights in whole steps, and the ``ranges`` of the rounded weights in each output
    channel, as ONNX Runtime's quantiser takes them (``TensorQuantOverrides``)."""

    model: onnx.ModelProto
    ranges: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def layers_to_round(model: onnx.ModelProto, left_in_float: Iterable[str]) -> list[onnx.NodeProto]:
    """The convolutions and linear layers of ``model``, one for each of their weights, except those named in
    ``left_in_float``."""
    stored = {tensor.name for tensor in model.graph.initializer}
    left = set(left_in_float)
    found: dict[str, onnx.NodeProto] = {}
    for node in model.graph.node:
        if node.name not in left and has_weight_rows(node) and node.input[1] in stored:
            found.setdefault(node.input[1], node)
    return list(found.values())


def read_once(model: onnx.ModelProto, layers: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Those of ``layers`` whose weights no other node reads."""
    uses = Counter(name for node in model.graph.node for name in node.input)
    return [node for node in layers if uses[node.input[1]] == 1]


def round_layers(
    model: onnx.ModelProto,
    layers: Iterable[onnx.NodeProto],
    moments: Mapping[str, InputMoments],
    any_processor: bool,
) -> Rounded:
    """``model`` with the weights of ``layers`` rounded, by the ``moments`` of their inputs where these are
    known (by the node's name), otherwise to the nearest step.

    With ``any_processor`` no two neighbouring weights add up to more than `LARGEST_SUM` steps.
    """
    from onnxruntime.quantization import QuantType

    rounded = Rounded(onnx.ModelProto())
    rounded.model.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in rounded.model.graph.initializer}
    for node in layers:
        name, known = node.input[1], moments.get(node.name)
        weights = numpy_helper.to_array(stored[name]).astype(np.float64)
        whole, steps = to_steps(weights, None if known is None else known.covariance, any_processor)
        back = whole * _across(steps, weights)
        bias = node.input[2] if len(node.input) > 2 else ""
        if known is not None and bias in stored:
            error = (weights - back).reshape(len(weights), -1)
            moved = numpy_helper.to_array(stored[bias]) + error @ known.mean
            stored[bias].CopyFrom(numpy_helper.from_array(moved.astype(np.float32), bias))
        stored[name].CopyFrom(numpy_helper.from_array(back.astype(np.float32), name))
        rounded.ranges[name] = [
            {"quant_type": QuantType.QInt8, "symmetric": True, "rmin": -largest, "rmax": largest}
            for largest in (steps * STEPS).astype(np.float32)
        ]
        rounded.ranges[name][0]["axis"] = 0
    return rounded


def to_steps(
    weights: NDArray, covariance: Floats | None, any_processor: bool = False
) -> tuple[Floats, Floats]:
    """``weights`` [O, I] or [O, I, kH, kW] as whole numbers of steps from -127 to 127, and the step sizes
    [O]. The ``covariance`` [K, K] is that of the inputs of one output; without it each weight is rounded to
    the nearest step."""
    wanted = weights.astype(np.float64)
    cut, steps = cut_pairs(wanted) if any_processor else (wanted, finest_steps(wanted))
    nearest = np.clip(np.round(cut / _across(steps, cut)), -STEPS, STEPS)
    if covariance is None:
        return nearest, steps
    # a weight that was cut stays within what it was cut to; the others may use the whole range
    bounds = np.where(cut == wanted, STEPS, np.abs(nearest)).reshape(len(weights), -1)
    ways = neighbouring_weights(weights.shape[1:]) if any_processor else []
    rows = (wanted / _across(steps, wanted)).reshape(len(weights), -1)
    return _compensated(rows, covariance, bounds, ways).reshape(weights.shape), steps


def _across(steps: Floats, weights: NDArray) -> Floats:
    return steps.reshape(-1, *[1] * (weights.ndim - 1))


def _compensated(
    rows: Floats, covariance: Floats, bounds: Floats, ways: Iterable[NDArray[np.intp]]
) -> Floats:
    """``rows`` [O, K], in steps, rounded within ``bounds`` and the limit of the pairs in ``ways``.

    Inputs of large variance come first: their errors cost most, and all others can make up for them.
    """
    count = rows.shape[1]
    order = np.argsort(-np.diag(covariance), kind="stable")
    place = np.argsort(order)
    partners: list[list[int]] = [[] for _ in range(count)]
    for way in ways:
        for one, other in place[way].tolist():
            partners[max(one, other)].append(min(one, other))
    damped = covariance[np.ix_(order, order)].astype(np.float64)
    damped[np.diag_indices(count)] += _DAMPING * max(np.trace(damped) / count, np.finfo(np.float32).tiny)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, most = rows[:, order].copy(), bounds[:, order]
    whole = np.zeros_like(left)
    for start in range(0, count, _BLOCK):
        end = min(count, start + _BLOCK)
        errors = np.zeros((len(rows), end - start))
        for column in range(start, end):
            low, high = -most[:, column], most[:, column]
            for partner in partners[column]:
                beside = whole[:, partner]
                high = np.where(beside > 0, np.minimum(high, LARGEST_SUM - beside), high)
                low = np.where(beside < 0, np.maximum(low, -LARGEST_SUM - beside), low)
            whole[:, column] = np.clip(np.round(left[:, column]), low, high)
            error = (left[:, column] - whole[:, column]) / upper[column, column]
            left[:, column:end] -= np.outer(error, upper[column, column:end])
            errors[:, column - start] = error
        left[:, end:] -= errors @ upper[start:end, end:]
    return whole[:, place]
