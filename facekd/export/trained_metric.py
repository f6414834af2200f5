"""Keep the metric in which a student was trained, at export.

A loss that compares through a linear projector W [T, D] aligns W s with the teacher's embedding: it trains
cos(W s, W s'). Dropping the projector and comparing the embeddings s themselves would change the metric. Up
to the normalisation everything is linear, so W can be folded into the last layer, A x + b with A [D, P]. With
K = W A, the rows (K'K)^(1/2) x have the lengths and angles of the rows K x, but P values instead of T. The
mean over training crops is subtracted as well, because it does not distinguish identities (the first step of
Mu and Viswanath, "All-but-the-top", ICLR 2018). Neither has a cost at run time.
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
from facekd.export.onnx_graph import settings

#: training crops for the mean
MEAN_CROPS = 4096
_PROJECTOR = ".match.projector.weight"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MetricGain:
    """TAR by FMR on the same crops, in the metric of the projector (``tar``) and in that of the embeddings
    themselves (``tar_plain``); empty if there are too few crops for any rate."""

    tar: Mapping[float, float]
    tar_plain: Mapping[float, float]

    @property
    def kept(self) -> bool:
        """Whether the projector's metric is used: at least one rate was measured, and none is worse."""
        return bool(self.tar) and all(self.tar[fmr] >= self.tar_plain[fmr] for fmr in self.tar)

    def metrics(self) -> dict[str, float]:
        """The metrics for the card."""
        return {f"plain_tar_{fmr:g}": round(tar, 5) for fmr, tar in self.tar_plain.items()}


def linear_projector(learned: Mapping[str, Tensor]) -> Floats | None:
    """The projector [T, D] among the parameters that the losses ``learned``; `None` unless there is exactly
    one projector and it is linear."""
    found = [tensor for name, tensor in learned.items() if name.endswith(_PROJECTOR) and tensor.ndim == 2]
    others = [name for name in learned if ".match.projector." in name and not name.endswith(_PROJECTOR)]
    return found[0].double().numpy() if len(found) == 1 and not others else None


def in_trained_metric(model: onnx.ModelProto, projector: Floats, mean: Floats) -> onnx.ModelProto:
    """``model`` with new weights in its last linear layer: the cosines of its output are those of
    ``normalise(projector @ (s - mean))``, where s [D] is the vector that ``model`` normalises.

    The output has P values, the number of inputs of that layer, if P is smaller than D, otherwise D. Raises
    `Misfit` if the graph does not end with a linear layer and the normalisation.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    gemm = last_linear(changed)
    stored = {tensor.name: tensor for tensor in changed.graph.initializer}
    weight, bias = (numpy_helper.to_array(stored[name]).astype(np.float64) for name in gemm.input[1:3])
    layer = projector @ weight  # [T, P]
    wide = layer.shape[1] > len(weight)
    if wide:  # the root would have more rows than the embedding has values
        layer = projector
    root = _root(layer.T @ layer)
    # s - mean = A (x - m), where m is the mean of x
    inner = root @ weight if wide else root
    offset = root @ (bias - mean) if wide else root @ np.linalg.lstsq(weight, bias - mean, rcond=None)[0]
    # keep the size of the weights, for quantisation; scaling does not change cosines
    scale = np.linalg.norm(weight) / np.linalg.norm(inner)
    for name, values in zip(gemm.input[1:3], (scale * inner, scale * offset), strict=True):
        stored[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    changed.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(inner)
    onnx.checker.check_model(changed)
    return changed


def _root(square: Floats) -> Floats:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(square)
    root: Floats = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


def last_linear(model: onnx.ModelProto) -> onnx.NodeProto:
    """The ``Gemm`` with weights [D, P] and a bias whose output rows are normalised to be the model's
    output."""
    makes = {name: node for node in model.graph.node for name in node.output}
    division = makes.get(model.graph.output[0].name)
    if division is not None and division.op_type == "Div":
        gemm = makes.get(division.input[0])
        constants = {tensor.name for tensor in model.graph.initializer}
        if gemm is not None and gemm.op_type == "Gemm" and len(gemm.input) == 3:
            given = settings(gemm)
            plain = given.get("alpha", 1) == given.get("beta", 1) == 1 and not given.get("transA", 0)
            if plain and given.get("transB", 0) == 1 and constants.issuperset(gemm.input[1:]):
                return gemm
    raise Misfit("the graph does not end with one linear layer whose rows are normalised")
