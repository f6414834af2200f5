"""Shared by the fuzzer's readers and seeds: a small network with its card, and a small gallery."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

#: the metadata key of the card in an ONNX file
CARD = "facekd.card"
#: separates the parts of an input that represents two files
CUT = b"\n=== the index ===\n"


def written_to(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def small_gallery(folder: Path) -> Path:
    """Two people, and one who was removed."""
    from facekd.gallery import Contract, GalleryRecords, Template

    gallery, random = folder / "small.db", np.random.default_rng(0)
    with GalleryRecords(gallery, Contract("a" * 64, 8, "small", "mtcnn", "arcface"), create=True) as records:
        for number, name in enumerate(("Ann", "Bo", "Cy")):
            row = random.normal(size=8)
            template = Template((row / np.linalg.norm(row)).astype(np.float32), f"{number:064x}", 0.5)
            with records.transaction():
                records.add(name, [template])
        with records.transaction():
            records.remove("Cy")
    return gallery


_MODELS: list[Path] = []


def small_model() -> Path:
    """A network of a few kilobytes with its card, made once per process."""
    if not _MODELS:
        from onnx import TensorProto, helper, numpy_helper, save

        from facekd.card import card_of, load_onnx, write_card

        weights = np.random.default_rng(0).normal(size=(3 * 14 * 14, 4)).astype(np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("AveragePool", ["crops"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
                helper.make_node("Flatten", ["blocks"], ["row"]),
                helper.make_node("Gemm", ["row", "weights"], ["embedding"]),
            ],
            "small",
            [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["N", 3, 112, 112])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 4])],
            [numpy_helper.from_array(weights, "weights")],
        )
        path = Path(tempfile.mkdtemp(prefix="facekd-fuzz-")) / "small.onnx"
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        network = load_onnx(path)
        write_card(network, card_of(network, "small")[0], path)
        _MODELS.append(path)
    return _MODELS[0]
