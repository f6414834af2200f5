"""Static int8: weights and activations of an exported network as 8-bit integers.

Channels are equalised first (`facekd.export.equalise`). Weights are quantised per output channel,
activations (uint8) by their ranges on real crops, both by ONNX Runtime's own quantiser (Jacob et al.,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018), as
QuantizeLinear and DequantizeLinear around each operator, which every runtime supports.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from facekd.errors import Misfit, UsageError
from facekd.export.equalise import equalise
from facekd.export.onnx_graph import run_graph, strip

#: the number of crops for the ranges of activations, and the fewest that are enough
RANGE_CROPS, FEWEST_CROPS = 512, 64
#: those of them that show the ranges of single channels
EQUALISE_CROPS = 256
#: the share of an activation's values, in per cent, inside its range: with all of them a few outliers
#: make all steps larger. Equalised channels need a little more than others: the mean cosine of two
#: students rises by 0.0006 from 99.99
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
    model: onnx.ModelProto, planes: Planes, advance: Callable[[int], object] = lambda done: None
) -> onnx.ModelProto:
    """``model`` in static int8; ``planes`` float32 [N, 3, S, S] of at least 64 real crops set the ranges;
    ``advance`` is told how many more of them are done.

    Raises `UsageError` for too few crops, `Misfit` if ONNX Runtime cannot quantise the graph.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if len(planes) < FEWEST_CROPS:
        raise UsageError(
            f"{len(planes)} crops are too few for quantisation: {FEWEST_CROPS} are needed",
            "Give more of them with --data.",
        )
    model = equalise(model, planes[:EQUALISE_CROPS])
    with tempfile.TemporaryDirectory() as folder, _quiet():
        before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(before))
        try:
            quantize_static(
                str(before), str(after), _Reader(planes, advance), quant_format=QuantFormat.QDQ,
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile, nodes_to_exclude=_first_convolution(model),
                extra_options={"CalibPercentile": KEPT_PERCENTILE},
            )  # fmt: skip
        except Exception as error:
            raise Misfit(f"this network cannot be quantised: {error}") from error
        quantised = onnx.load(str(after))
    strip(quantised)
    return quantised


def _first_convolution(model: onnx.ModelProto) -> list[str]:
    """The name of the one that reads the pixels; none if the network has no convolution."""
    return [node.name for node in model.graph.node if node.op_type == "Conv"][:1]


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
        # the batch before this one is done by now
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
