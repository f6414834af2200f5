"""An embedding model of a few kilobytes, for tests of what happens around a model.

``from tiny_model import write_tiny_model`` works in every test: pytest puts the folder of
``conftest.py`` on the path.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from facekd.card.contract import Calibration, Card, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.card.onnx_file import write_card


def write_tiny_model(
    path: Path, seed: int = 0, dim: int = 32, calibration: tuple[Calibration, ...] = ()
) -> Path:
    """Mean over blocks of 8 x 8 pixels, then a random projection that ignores brightness. The
    same face gives nearly the same embedding; it tells photos apart, not people."""
    weights = np.random.default_rng(seed).normal(size=(3 * 14 * 14, dim)).astype(np.float32)
    weights -= weights.mean(axis=0)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["crops"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
            helper.make_node("Flatten", ["blocks"], ["row"]),
            helper.make_node("Gemm", ["row", "weights"], ["embedding"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", dim])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    card = Card(
        name=path.stem,
        architecture="tiny",
        input=InputSpec(),
        crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=dim),
        calibration=calibration,
    )
    write_card(model, card, path)
    return path
