"""MTCNN's weights in the package mtcnn-runtime: three ONNX files, read without importing it.

The values are exactly those of facenet-pytorch, under other names; only the first dense layer has its inputs
in another order.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.errors import Unreadable
from facekd.files import read_bounded

#: SHA-256 of the files of mtcnn-runtime 1.0.0; no others are accepted
FILES = {
    "pnet": "4b2f1dc55be37d8f73d08cd4038c723d12b9fa90fceb7fa5a4461c4353fb87c5",
    "rnet": "3d8bed44df8fde6bf359806e8ff06f30dda2a9d63cf57aaff8a835d49edcbaee",
    "onet": "a42f0cbde62f8032ccc3299fd989a9909c8b185a72a360e247c6f953af366efd",
}
_PACKAGE = "mtcnnruntime"
_MAX_BYTES = 10_000_000
#: the layers of each network that have weights, in order, by facenet-pytorch's names
_LAYERS = {
    "pnet": ("conv1", "conv2", "conv3", "conv4_1", "conv4_2"),
    "rnet": ("conv1", "conv2", "conv3", "dense4", "dense5_1", "dense5_2"),
    "onet": ("conv1", "conv2", "conv3", "conv4", "dense5", "dense6_1", "dense6_2", "dense6_3"),
}

Floats = NDArray[np.float32]


def wheel_files() -> dict[str, bytes] | None:
    """The three files of the installed package; `None` if it is not installed.

    Raises `Unreadable` if a file is not the expected one.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "weights"
    found = {name: read_bounded(folder / f"{name}.onnx", _MAX_BYTES) for name in FILES}
    for name, content in found.items():
        if hashlib.sha256(content).hexdigest() != FILES[name]:
            raise Unreadable(
                f"{folder / name}.onnx is not the file of mtcnn-runtime 1.0.0",
                "Install it again: pip install --force-reinstall mtcnn-runtime==1.0.0",
            )
    return found


def weights_in(content: bytes, network: str) -> dict[str, Floats]:
    """The weights in one of the files, named and ordered as in facenet-pytorch's state dicts."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(content).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    slopes = iter([held[node.input[1]].ravel() for node in graph.node if node.op_type == "PRelu"])
    weights: dict[str, Floats] = {}
    for layer in _LAYERS[network]:
        # in those files every layer is called a convolution, including the dense ones
        name = layer.replace("dense", "conv")
        name = name if "_" in layer else f"features.{name}"
        weight = held[f"{name}.weight"]
        first_dense = layer.startswith("dense") and "_" not in layer
        weights[f"{layer}.weight"] = _reordered(weight) if first_dense else weight
        weights[f"{layer}.bias"] = held[f"{name}.bias"]
        if "_" not in layer:
            weights[f"prelu{layer[-1]}.weight"] = next(slopes)
    return weights


def _reordered(weight: Floats) -> Floats:
    """The dense layer [O, C x 3 x 3], with its inputs reordered from channels first to channels last."""
    outputs = len(weight)
    return np.ascontiguousarray(weight.reshape(outputs, -1, 3, 3).transpose(0, 2, 3, 1).reshape(outputs, -1))
