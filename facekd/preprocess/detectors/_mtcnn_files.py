"""The three networks of MTCNN as ONNX files: converted once from the weights in the installed package
mtcnn-runtime, or facenet-pytorch if that is missing, and kept in the user's cache.

The weights are read, and the graphs built, without torch, so an operator's process never imports it.
A folder of converted files is complete if its manifest exists, which is written last and
holds the digests of all files; two processes that convert at once write the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.card import canonical_json
from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.files import cache_folder, read_bounded, write_atomically
from facekd.preprocess.detectors._mtcnn_wheel import weights_in, wheel_files
from facekd.preprocess.detectors._torch_file import read_state_dict

if TYPE_CHECKING:
    import onnx

NETWORKS = ("pnet", "rnet", "onet")
MANIFEST = "mtcnn.json"
#: increased when the conversion changes, so that files of an older one are not used
_CONVERSION = 1
#: bytes of the largest converted file that is read; O-Net holds 1.6 million
_MAX_BYTES = 100_000_000

Floats = NDArray[np.float32]


def mtcnn_networks() -> dict[str, bytes]:
    """The ONNX networks by name, from the cache; converted first if necessary.

    Raises `UsageError` if there are neither converted files nor one of the packages, `Unreadable` if
    a package contains other files than expected.
    """
    source = _installed()
    if source is None:
        return _any_cached()[1]
    folder = cache_folder() / f"mtcnn-{source.digest[:16]}"
    try:
        return read_networks(folder)
    except (InputOutput, Unreadable):
        networks = source.convert()
        try:
            write_networks(networks, folder)
        except InputOutput:
            # without a writable cache the networks are converted at each start, which is slower but works
            return networks
        return networks


def mtcnn_origin() -> str:
    """Describe the source of the weights of `mtcnn_networks`, and how they were verified. Raises what
    `mtcnn_networks` raises."""
    source = _installed()
    return (
        f"converted files in {_any_cached()[0]}, of the stated SHA-256" if source is None else source.origin
    )


def write_networks(networks: dict[str, bytes], folder: Path) -> None:
    """Write the ONNX ``networks`` and their manifest into ``folder``; raises `InputOutput`."""
    for name, content in networks.items():
        write_atomically(folder / f"{name}.onnx", content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in networks.items()}
    write_atomically(folder / MANIFEST, canonical_json(digests))


def read_networks(folder: Path) -> dict[str, bytes]:
    """The networks that `write_networks` wrote into ``folder``.

    Raises `InputOutput` if a file is missing, `Unreadable` if one has changed.
    """
    try:
        digests = json.loads(read_bounded(folder / MANIFEST, _MAX_BYTES))
        networks = {name: read_bounded(folder / f"{name}.onnx", _MAX_BYTES) for name in NETWORKS}
    except InputOutput as error:
        raise InputOutput(f"{folder}: contains no converted MTCNN ({error.cause})", _EXPORT) from error
    except ValueError as error:
        raise Unreadable(f"{folder / MANIFEST}: damaged", _EXPORT) from error
    for name, content in networks.items():
        if not isinstance(digests, dict) or hashlib.sha256(content).hexdigest() != digests.get(name):
            raise Unreadable(f"{folder}/{name}.onnx: damaged", _EXPORT)
    return networks


_EXPORT = "Write the files again on a machine with mtcnn-runtime: facekd detector export DIR"


def _any_cached() -> tuple[Path, dict[str, bytes]]:
    """A folder of converted files in the cache, and its networks."""
    for folder in sorted(cache_folder().glob("mtcnn-*")):
        try:
            return folder, read_networks(folder)
        except (InputOutput, Unreadable):
            continue
    raise UsageError(
        "MTCNN's weights come with the package mtcnn-runtime, which is not installed",
        "Install it: pip install mtcnn-runtime==1.0.0; or run 'facekd detector export DIR' where it is "
        "installed and use --detector mtcnn:DIR; or use another one: --detector yunet:FILE or scrfd:FILE.",
    )


@dataclass(frozen=True)
class _Source:
    """Weight files by network, their origin, and the function that reads the weights in one."""

    origin: str
    files: dict[str, bytes]
    weights_in: Callable[[bytes, str], Mapping[str, Floats]]

    @property
    def digest(self) -> str:
        """Identifies the converted files."""
        digests = [hashlib.sha256(self.files[name]).hexdigest() for name in NETWORKS]
        return hashlib.sha256(canonical_json([_CONVERSION, *digests])).hexdigest()

    def convert(self) -> dict[str, bytes]:
        states = {name: dict(self.weights_in(self.files[name], name)) for name in NETWORKS}
        return {name: _graph(name, states[name]).SerializeToString(deterministic=True) for name in NETWORKS}


def _installed() -> _Source | None:
    """The weights of mtcnn-runtime, otherwise of facenet-pytorch, found without importing either."""
    wheel = wheel_files()
    if wheel is not None:
        return _Source("the package mtcnn-runtime, with the expected SHA-256", wheel, weights_in)
    spec = importlib.util.find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "data"
    try:
        files = {name: (folder / f"{name}.pt").read_bytes() for name in NETWORKS}
    except OSError:
        return None
    return _Source("the package facenet-pytorch, whose files are not verified", files, read_state_dict)


#: sides of the pools that follow the first convolutions (stride 2, rounded up)
_POOLS = {"pnet": (2,), "rnet": (3, 3), "onet": (3, 3, 2)}
#: the output of each head, by the number at the end of its name
_HEADS = {"_1": "logits", "_2": "box", "_3": "points"}


def _graph(name: str, weights: dict[str, Floats]) -> onnx.ModelProto:
    """One network as ONNX: "planes" [N, 3, H, W] to "score", "box" and, for O-Net, "points"."""
    from onnx import TensorProto, checker, helper, numpy_helper

    def value(label: str, shape: list[int | str | None]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(label, TensorProto.FLOAT, shape)

    tensors = [numpy_helper.from_array(_shaped(key, weights), key) for key in weights]
    given: list[int | str | None] = ["n", 2, "rows", "columns"] if name == "pnet" else ["n", 2]
    outputs = [value("score", given), value("box", [given[0], 4, *given[2:]])]
    if name == "onet":
        outputs.append(value("points", ["n", 10]))
    planes = value("planes", ["n", 3, "height", "width"])
    graph = helper.make_graph(_nodes(weights, _POOLS[name]), name, [planes], outputs, tensors)
    # the oldest versions with these operators, so that old runtimes can read the files
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model


def _shaped(key: str, weights: dict[str, Floats]) -> Floats:
    """A PReLU's slopes [C] become [C, 1, 1] after a convolution; everything else is unchanged."""
    behind_conv = key.startswith("prelu") and f"conv{key[5]}.weight" in weights
    return weights[key].reshape(-1, 1, 1) if behind_conv else weights[key]


def _nodes(weights: dict[str, Floats], pools: tuple[int, ...]) -> list[onnx.NodeProto]:
    """Convolutions and at most one dense layer, each with PReLU, then the heads in parallel."""
    from onnx import helper

    nodes = []
    last = "planes"

    def add(kind: str, given: str, result: str, layer: str = "", **settings: Any) -> str:
        tensors = [key for key in (f"{layer}.weight", f"{layer}.bias") if key in weights]
        nodes.append(helper.make_node(kind, [given, *tensors], [result], **settings))
        return result

    for key in weights:
        layer, _, part = key.partition(".")
        if part != "weight":
            continue
        if "_" in layer:
            kind, settings = ("Conv", {}) if layer.startswith("conv") else ("Gemm", {"transB": 1})
            add(kind, last, _HEADS[layer[-2:]], layer, **settings)
        elif layer.startswith("conv"):
            last = add("Conv", last, layer, layer)
        elif layer.startswith("dense"):
            # the dense weights are in column-major order, because the networks come from MATLAB
            last = add("Transpose", last, "turned", perm=[0, 3, 2, 1])
            last = add("Flatten", last, "flat", axis=1)
            last = add("Gemm", last, layer, layer, transB=1)
        else:
            last = add("PRelu", last, layer, layer)
            number = int(layer[-1])
            if number <= len(pools):
                side = [pools[number - 1]] * 2
                last = add("MaxPool", last, f"pool{number}", kernel_shape=side, strides=[2, 2], ceil_mode=1)
    add("Softmax", "logits", "score", axis=1)
    return nodes
