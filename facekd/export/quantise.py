"""Static int8: weights and activations of an exported network as 8-bit integers.

Channels are equalised first (`facekd.export.equalise`). Weights are quantised per output channel, rounded so
that the output of their layer changes least (`facekd.export.rounding`), activations (uint8) by their ranges
on real crops, both by ONNX Runtime's own quantiser (Jacob et al., "Quantization and training of neural
networks for efficient integer-arithmetic-only inference", CVPR 2018), as QuantizeLinear and DequantizeLinear
around each operator, which every runtime supports. Finally the last layer is refitted, by least squares, to
the output of the quantised layers before it. On request the weights are limited so that no sum overflows on
any processor (`facekd.export.pair_limits`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from facekd.errors import Misfit, UsageError
from facekd.export.activations import activations
from facekd.export.equalise import equalise
from facekd.export.layer_inputs import FOR_EACH_VALUE, InputMoments, crops_to_process, input_moments
from facekd.export.onnx_graph import run_graph, strip
from facekd.export.rounding import Rounded, layers_to_round, read_once, round_layers
from facekd.export.trained_metric import last_linear
from facekd.runtime import all_sums_fit

#: the number of crops to quantise with, and the fewest that are enough
RANGE_CROPS, FEWEST_CROPS = 2048, 64
#: how many of these, evenly spaced, serve for the ranges of activations and for the inputs of layers, and for
#: the ranges of single channels
_FOR_RANGES, _FOR_CHANNELS = 1024, 256
#: the most memory for activations while their ranges are measured
_MOST_BYTES = 4 * 2**30
#: ridge penalty of the refitted last layer, as a share of the mean power of its inputs
_RIDGE = 1e-4
#: the share of an activation's values, in per cent, inside its range: with 100, a few outliers would make all
#: steps larger. Equalised channels need slightly more: compared with 99.99, the mean cosine of two students
#: is 0.0006 higher
KEPT_PERCENTILE = 99.995
#: points of TAR, at each stated FMR, that int8 may cost
MOST_LOST = 0.005
#: lowest mean cosine between the embeddings of one crop by both networks
LOWEST_MEAN_COSINE = 0.98
_BATCH = 32

Planes = NDArray[np.float32]


@dataclass(frozen=True)
class Int8Cost:
    """The cost of int8 on the same crops: the mean ``cosine`` to the float32 network's embeddings, and TAR
    by FMR of the network before (``tar``) and after (``tar_int8``), for the rates that the data can show."""

    cosine: float
    tar: dict[float, float]
    tar_int8: dict[float, float]

    def metrics(self) -> dict[str, float]:
        """The metrics for the card."""
        told = {"int8_cosine": round(self.cosine, 5)}
        for fmr, value in self.tar_int8.items():
            told[f"tar_{fmr:g}"] = round(value, 5)
            told[f"float32_tar_{fmr:g}"] = round(self.tar[fmr], 5)
        return told


def quantise(
    model: onnx.ModelProto,
    planes: Planes,
    advance: Callable[[int], object] = lambda done: None,
    any_processor: bool = False,
    by_inputs: bool = True,
) -> onnx.ModelProto:
    """``model`` in static int8, measured on ``planes`` float32 [N, 3, S, S] of at least 64 real crops.
    ``advance`` receives the number of further crops processed, of `crops_processed`. With ``any_processor``
    no sum can overflow on one without VNNI (`facekd.runtime.all_sums_fit`). Without ``by_inputs`` each weight
    is rounded to its nearest step, for a comparison.

    Raises `UsageError` for too few crops, `Misfit` if ONNX Runtime cannot quantise the graph, or if
    ``any_processor`` cannot be had, because it multiplies by matrices in another way.
    """
    if len(planes) < FEWEST_CROPS:
        raise UsageError(
            f"{len(planes)} crops are too few for quantisation: {FEWEST_CROPS} are needed",
            "Give more of them with --data.",
        )
    model = equalise(model, _some(planes, _FOR_CHANNELS))
    excluded, ranges = _left_in_float(model), for_ranges(model, planes)
    measured = _measured(model) if by_inputs else []
    moments = input_moments(model, measured, _some(planes, _FOR_RANGES), advance)
    rounded = round_layers(model, layers_to_round(model, excluded), moments, any_processor)
    quantised = _quantised(rounded, ranges, excluded, advance)
    refitted = _refitted(model, rounded, quantised, planes, any_processor, by_inputs)
    if refitted is not None:
        quantised = _quantised(refitted, ranges, excluded, lambda done: None)
    strip(quantised)
    if any_processor and not all_sums_fit(quantised):
        raise Misfit(
            "more than convolutions and linear layers is quantised here, so that sums may still overflow",
            "Leave out --any-processor.",
        )
    return quantised


def roundings(model: onnx.ModelProto, planes: Planes) -> Iterator[tuple[str, onnx.ModelProto]]:
    """What each way of rounding makes of ``model``, with its name: weights alone and all of int8, each with
    weights to the nearest step and by the inputs of their layer, then these for any processor. ``planes`` as
    for `quantise`."""
    equal = equalise(model, _some(planes, _FOR_CHANNELS))
    layers = layers_to_round(equal, _left_in_float(equal))
    known = input_moments(equal, read_once(equal, layers), _some(planes, _FOR_RANGES))
    for any_processor in (False, True):
        where = ", for any processor" if any_processor else ""
        for by_inputs, way in ((False, "to the nearest step"), (True, "by inputs")):
            weights = round_layers(equal, layers, known if by_inputs else {}, any_processor).model
            yield f"weights alone, {way}{where}", weights
            int8 = quantise(model, planes, any_processor=any_processor, by_inputs=by_inputs)
            yield f"int8, {way}{where}", int8


def _measured(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The layers whose inputs are measured: not the last one, which is refitted."""
    layers = read_once(model, layers_to_round(model, _left_in_float(model)))
    try:
        last = last_linear(model).name
    except Misfit:
        return layers
    return [node for node in layers if node.name != last]


def crops_processed(model: onnx.ModelProto, planes: Planes) -> int:
    """How many crops `quantise` reports to ``advance``, but for the last batch if it is not whole."""
    inputs = crops_to_process(model, _measured(model), _some(planes, _FOR_RANGES))
    return inputs + len(for_ranges(model, planes))


def for_ranges(model: onnx.ModelProto, planes: Planes) -> Planes:
    """The ``planes`` on which the ranges of activations of ``model`` are measured: fewer for a large network,
    since the quantiser keeps the activations of all of them."""
    fitting = int(_MOST_BYTES // max(1, activation_bytes(model)))
    count = min(_FOR_RANGES, max(FEWEST_CROPS, fitting // _BATCH * _BATCH))
    return _some(planes, count)


def activation_bytes(model: onnx.ModelProto) -> int:
    """The bytes of all activations of ``model`` for one crop, in float32."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    total = 0
    for value in [*graph.value_info, *graph.output]:
        # the first dimension is the batch
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim][1:]
        total += 4 * math.prod(sides)
    return total


def _some(planes: Planes, count: int) -> Planes:
    """About ``count`` evenly spaced ``planes``."""
    return planes[:: max(1, len(planes) // count)]


def _refitted(
    model: onnx.ModelProto,
    rounded: Rounded,
    quantised: onnx.ModelProto,
    planes: Planes,
    any_processor: bool,
    by_inputs: bool,
) -> Rounded | None:
    """``rounded`` with a last layer fitted, by least squares over ``planes``, to the output of the
    ``quantised`` layers before it, and rounded; `None` if ``model``, which was rounded, does not end with a
    linear layer, or there are too few planes."""
    try:
        last = last_linear(model)
    except Misfit:
        return None
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    if len(planes) < FOR_EACH_VALUE * stored[last.input[1]].dims[1]:
        return None
    (quantised_last,) = [node for node in quantised.graph.node if last.output[0] in node.output]
    given = _activations(quantised, quantised_last.input[0], planes)
    wanted = _activations(model, last.output[0], planes)
    names = last.input[1:3]
    weight, bias = (numpy_helper.to_array(stored[name]).astype(np.float64) for name in names)
    inputs = np.hstack([given, np.ones((len(given), 1))])
    square, left = inputs.T @ inputs, wanted - given @ weight.T - bias
    square[np.diag_indices_from(square)] += _RIDGE * np.trace(square) / len(square)
    change = np.linalg.solve(square, inputs.T @ left).T
    changed = onnx.ModelProto()
    changed.CopyFrom(rounded.model)
    stored = {tensor.name: tensor for tensor in changed.graph.initializer}
    for name, value in zip(names, (weight + change[:, :-1], bias + change[:, -1]), strict=True):
        stored[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    moments = {last.name: InputMoments.of(given)} if by_inputs else {}
    final = round_layers(changed, [last], moments, any_processor)
    return Rounded(final.model, {**rounded.ranges, **final.ranges})


def _activations(model: onnx.ModelProto, name: str, planes: Planes) -> NDArray[np.float64]:
    """The activation ``name`` [N, C] for ``planes``."""
    rows = [some[name] for some in activations(model, [name], planes, _BATCH)]
    return np.concatenate(rows).astype(np.float64)


def _quantised(
    rounded: Rounded, planes: Planes, excluded: list[str], advance: Callable[[int], object]
) -> onnx.ModelProto:
    """``rounded`` in static int8, but for the nodes ``excluded``, with the ranges of ``planes``."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    options = {"CalibPercentile": KEPT_PERCENTILE, "TensorQuantOverrides": rounded.ranges}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(rounded.model, str(before))
        try:
            quantize_static(
                str(before), str(after), _Reader(planes, advance), quant_format=QuantFormat.QDQ,
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile, nodes_to_exclude=excluded,
                extra_options=options,
            )  # fmt: skip
        except Exception as error:
            raise Misfit(f"this network cannot be quantised: {error}") from error
        return onnx.load(str(after))


def _left_in_float(model: onnx.ModelProto) -> list[str]:
    """The names of nodes that are not quantised: the convolution that reads the pixels, and a depthwise one
    that pools the whole map, with the sum that it reads. They cost little, and errors in them affect every
    input of the last layer."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    makes = {name: node for node in model.graph.node for name in node.output}
    left = [node.name for node in convolutions[:1]]
    for node in convolutions[-1:]:
        if any(item.name == "group" and item.i > 1 for item in node.attribute):
            left.append(node.name)
            before = makes.get(node.input[0])
            while before is not None and before.op_type in ("Relu", "Add"):
                left.append(before.name)
                before = makes.get(before.input[0]) if before.op_type == "Relu" else None
    return left


def check_cosine(model: onnx.ModelProto, quantised: onnx.ModelProto, planes: Planes) -> float:
    """The mean cosine between both networks' embeddings of ``planes``; `Misfit` below 0.98."""
    one, other = (run_graph(graph, planes, _BATCH) for graph in (model, quantised))
    cosine = float((one * other).sum(1).mean())
    # written so that NaN fails too
    if not cosine >= LOWEST_MEAN_COSINE:
        raise Misfit(
            f"the int8 network differs from the original: the mean cosine of the embeddings is {cosine:.4f}",
            f"Required: {LOWEST_MEAN_COSINE}. Nothing was written; export it in float32.",
        )
    return cosine


def check_tar(tar: dict[float, float], tar_int8: dict[float, float]) -> None:
    """Raise `Misfit` if TAR at one of the FMRs is more than half a point lower than before."""
    for fmr, before in tar.items():
        lost = before - tar_int8[fmr]
        if not lost <= MOST_LOST:
            raise Misfit(
                f"int8 costs {100 * lost:.2f} points of TAR at FMR {fmr:g} ({100 * before:.2f} before)",
                f"At most {100 * MOST_LOST:g} are allowed. Nothing was written; export it in float32.",
            )


class _Reader:
    """Passes the crops to the quantiser in whole batches: its percentiles need batches of equal size."""

    def __init__(self, planes: Planes, advance: Callable[[int], object]) -> None:
        self._advance, self._running = advance, 0
        self._batches: Iterator[dict[str, Planes]] = (
            {"planes": planes[start : start + _BATCH]} for start in range(0, len(planes) - _BATCH + 1, _BATCH)
        )

    def get_next(self) -> dict[str, Planes] | None:
        # the quantiser has finished the previous batch by now
        self._advance(self._running)
        batch = next(self._batches, None)
        self._running = 0 if batch is None else len(batch["planes"])
        return batch


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the quantiser's output, and its advice to preprocess, which would only fold what the exporter
    has already folded."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
