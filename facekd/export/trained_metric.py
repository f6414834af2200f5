"""Keep, at export, the metric that a student was trained in.

A loss that compares through a linear projector W [T, D] turns W s towards the teacher's embedding: what it
trains is cos(W s, W s'). To drop the projector and compare the embeddings s themselves changes the metric.
Until the rows are normalised all is linear, so W is put into the last layer, A x + b with A [D, P]. With
K = W A the rows (K'K)^(1/2) x have the lengths and angles of the rows K x, and P numbers instead of T.

The mean over training crops is taken away, too, since it says nothing about who somebody is (the first step
of Mu and Viswanath, "All-but-the-top", ICLR 2018). Neither costs anything when the network runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from facekd.errors import Misfit

#: training crops for the mean
MEAN_CROPS = 4096
_PROJECTOR = ".match.projector.weight"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MetricGain:
    """TAR by FMR on the same crops, in the metric of the projector (``tar``) and of the embeddings as they
    are (``tar_plain``); empty where the crops show no rate."""

    tar: Mapping[float, float]
    tar_plain: Mapping[float, float]

    @property
    def kept(self) -> bool:
        """Whether there is a rate, and none is worse for it."""
        return bool(self.tar) and all(self.tar[fmr] >= self.tar_plain[fmr] for fmr in self.tar)

    def metrics(self) -> dict[str, float]:
        """The metrics for the card."""
        return {f"plain_tar_{fmr:g}": round(tar, 5) for fmr, tar in self.tar_plain.items()}


def linear_projector(learned: Mapping[str, Tensor]) -> Floats | None:
    """The projector [T, D] among what the losses ``learned``; `None` if there is none, or not just one linear
    one."""
    found = [tensor for name, tensor in learned.items() if name.endswith(_PROJECTOR) and tensor.ndim == 2]
    others = [name for name in learned if ".match.projector." in name and not name.endswith(_PROJECTOR)]
    return found[0].double().numpy() if len(found) == 1 and not others else None


def in_trained_metric(model: onnx.ModelProto, projector: Floats, mean: Floats) -> onnx.ModelProto:
    """``model`` with other weights in its last linear layer: its unit rows have the cosines of
    ``normalise(projector @ (s - mean))``, s [D] being what it normalised before.

    The rows have P numbers, the inputs of that layer, if these are fewer than D, otherwise D. Raises `Misfit`
    if the graph does not end with a linear layer and the normalisation.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    gemm = last_linear(changed)
    stored = {tensor.name: tensor for tensor in changed.graph.initializer}
    weight, bias = (numpy_helper.to_array(stored[name]).astype(np.float64) for name in gemm.input[1:3])
    layer = projector @ weight  # [T, P]
    wide = layer.shape[1] > len(weight)
    if wide:  # the root would have more numbers than the embedding
        layer = projector
    root = _root(layer.T @ layer)
    # s - mean = A (x - m) if s has this mean for inputs of mean m
    inner = root @ weight if wide else root
    offset = root @ (bias - mean) if wide else root @ np.linalg.lstsq(weight, bias - mean, rcond=None)[0]
    # rows of a usual size, for the sake of 8-bit steps; it does not change a cosine
    scale = np.linalg.norm(weight) / np.linalg.norm(inner)
    for name, values in zip(gemm.input[1:3], (scale * inner, scale * offset), strict=True):
        stored[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    changed.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(inner)
    onnx.checker.check_model(changed)
    return changed


def _root(square: Floats) -> Floats:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(square)
    root: Floats = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


def last_linear(model: onnx.ModelProto) -> onnx.NodeProto:
    """The ``Gemm`` of [D, P] weights and a bias whose rows are normalised into the output."""
    makes = {name: node for node in model.graph.node for name in node.output}
    division = makes.get(model.graph.output[0].name)
    if division is not None and division.op_type == "Div":
        gemm = makes.get(division.input[0])
        constants = {tensor.name for tensor in model.graph.initializer}
        if gemm is not None and gemm.op_type == "Gemm" and len(gemm.input) == 3:
            given = {item.name: onnx.helper.get_attribute_value(item) for item in gemm.attribute}
            plain = given.get("alpha", 1) == given.get("beta", 1) == 1 and not given.get("transA", 0)
            if plain and given.get("transB", 0) == 1 and constants.issuperset(gemm.input[1:]):
                return gemm
    raise Misfit("the graph does not end with one linear layer whose rows are normalised")
