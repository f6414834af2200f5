"""Export a torch network as one ONNX file that gives the same embeddings.

The graph takes inputs [N, 3, S, S], scaled as the card says, and returns unit rows [N, D]; N is
free. The exporter folds batch norms into the convolutions before them.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facekd.card import ARCFACE_CROP, Calibration, Card, CropSpec, LandmarkCrop, write_card
from facekd.errors import Misfit, UsageError
from facekd.models import FaceNet, to_planes

#: the requested operator set: old enough for every runtime in use, new enough for LayerNorm
OPSET = 18
#: the number of crops for parity, and their batch sizes
PARITY_CROPS = 64
PARITY_BATCHES = (1, 8)
LOWEST_COSINE = 0.99999
LARGEST_DIFFERENCE = 1e-4

Crops = NDArray[np.uint8]


def export_network(
    net: FaceNet,
    card: Card,
    path: str | os.PathLike[str],
    crops: Crops,
    calibration: tuple[Calibration, ...] = (),
) -> Card:
    """Write ``net`` with ``card`` and ``calibration`` to ``path``; return the pinned card.

    ``crops``: at least 64 real crops uint8 RGB [N, S, S, 3], on the ArcFace template if the
    network uses landmark crops. Raises `Misfit` if the exported network gives other embeddings of
    them than ``net``, `UsageError` for too few crops; nothing is written then.
    """
    model = to_onnx(net, card)
    check_parity(net, model, card, crops)
    return write_card(model, card.model_copy(update={"calibration": calibration}), path)


def to_onnx(net: FaceNet, card: Card) -> onnx.ModelProto:
    """The graph of ``net`` with unit norm inside, without file names or traces of the exporting machine."""
    size = card.input.size
    unit = _UnitRows(frozen(net)).eval()
    # two rows: the exporter would treat a batch of one as a constant
    sample = torch.zeros(2, 3, size, size)
    with _quiet():
        program = torch.onnx.export(
            unit,
            (sample,),
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=["planes"],
            output_names=["embedding"],
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise Misfit("torch exported no graph")
    model: onnx.ModelProto = program.model_proto
    strip(model)
    onnx.checker.check_model(model)
    return model


def strip(model: onnx.ModelProto) -> None:
    """Remove from ``model`` where and how it was exported; its digest does not change.

    The exporter writes stack traces and module paths of the exporting machine to every node.
    """
    _clear(model)
    for graph in _graphs(model.graph):
        del graph.value_info[:]
        _clear(graph, *graph.node, *graph.initializer, *graph.input, *graph.output)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"


def _clear(*items: Any) -> None:
    for item in items:
        item.doc_string = ""
        del item.metadata_props[:]


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """``graph`` and the branches and loop bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def check_parity(net: FaceNet, model: onnx.ModelProto, card: Card, crops: Crops) -> None:
    """Raise `Misfit` unless ``model`` gives the embeddings of ``net`` on 64 of ``crops``.

    ONNX Runtime runs them one by one and in batches of eight: every cosine must be at least 0.99999, and no
    value may differ by more than 1e-4.
    """
    if len(crops) < PARITY_CROPS:
        raise UsageError(f"{len(crops)} crops are too few to check the export on: {PARITY_CROPS} are needed")
    chosen = np.linspace(0, len(crops) - 1, PARITY_CROPS).astype(int)
    planes = to_planes(fitted(crops[chosen], card.crop), card.input)
    with torch.no_grad():
        wanted = nn.functional.normalize(frozen(net)(planes), dim=1).numpy()
    for batch in PARITY_BATCHES:
        found = run_graph(model, planes.numpy(), batch)
        if found.shape != wanted.shape:
            raise Misfit(f"the exported network gives {list(found.shape)}, torch {list(wanted.shape)}")
        cosine = float((found * wanted).sum(1).min())
        difference = float(np.abs(found - wanted).max())
        # written so that NaN fails too
        if not (cosine >= LOWEST_COSINE and difference <= LARGEST_DIFFERENCE):
            raise Misfit(
                f"the exported network differs from the original: at batch {batch} the lowest cosine to "
                f"torch is {cosine:.6f} and the largest difference {difference:.2g}",
                f"Required: {LOWEST_COSINE} and {LARGEST_DIFFERENCE:g}. Nothing was written.",
            )


def settings(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of ``node`` by name."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def run_graph(model: onnx.ModelProto, planes: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """The outputs of ``model`` for ``planes`` [N, 3, S, S], run in batches."""
    from facekd.runtime import open_session

    session = open_session(model.SerializeToString())
    starts = range(0, len(planes), batch)
    rows = [session.run(None, {"planes": planes[start : start + batch]})[0] for start in starts]
    return np.concatenate(rows)


def fitted(crops: Crops, spec: CropSpec) -> Crops:
    """Crops on the ArcFace template, converted to ``spec``.

    Box crops cannot be made from these; a resized crop is nevertheless a face of the right size, which
    is enough to compare two runs of one network.
    """
    if isinstance(spec, LandmarkCrop):
        from facekd.geometry import recrop

        return recrop(crops, ARCFACE_CROP, spec)
    import cv2

    return np.stack([cv2.resize(crop, (spec.size, spec.size)) for crop in crops]).astype(np.uint8)


class _UnitRows(nn.Module):
    def __init__(self, net: FaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, planes: Tensor) -> Tensor:
        rows = self.net(planes)
        return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp(min=1e-12)


def frozen(net: FaceNet) -> FaceNet:
    """A copy in evaluation mode, float32, on the CPU."""
    return copy.deepcopy(net).cpu().float().eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress and warnings; exceptions still pass."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
