"""Networks that are not embedding models are refused with a clear message, never an internal error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from odd_models import write_network
from onnx import TensorProto, helper
from tiny_model import write_tiny_model

from facekd.card import Card, EmbeddingSpec, InputSpec, LandmarkCrop, load_onnx, write_card
from facekd.errors import Exit, InputOutput, Misfit, Unreadable
from facekd.runtime import load_embedder

CROPS = np.random.default_rng(1).integers(0, 256, (5, 112, 112, 3), np.uint8)

ODD = {
    "wide": (
        {"shape": ("N", 3, 96, 112)},
        "it takes crops of 112 x 96 pixels (width x height); only square crops are supported",
    ),
    "scalar": (
        {"end": [helper.make_node("ReduceSum", ["row"], ["embedding"], keepdims=0)], "output": ()},
        "output shape [] is not that of embeddings",
    ),
    "maps": (
        {
            "end": [
                helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]),
                helper.make_node("Unsqueeze", ["row", "axes"], ["embedding"]),
            ],
            "output": ("N", 16, 1, 1),
        },
        "output shape [?, 16, 1, 1] is not that of embeddings",
    ),
    "maps, not stated": (
        {
            "end": [
                helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]),
                helper.make_node("Unsqueeze", ["row", "axes"], ["embedding"]),
            ],
            "output": ("N", "D"),
        },
        "output shape [1, 16, 1, 1] is not that of embeddings",
    ),
    "scalar, not stated": (
        {"end": [helper.make_node("ReduceSum", ["row"], ["embedding"], keepdims=0)], "output": ("N", "D")},
        "output shape [] is not that of embeddings",
    ),
    "two outputs": (
        {
            "end": [
                helper.make_node("Identity", ["row"], ["embedding"]),
                helper.make_node("Neg", ["row"], ["other"]),
            ],
            "outputs": ("embedding", "other"),
        },
        "this one has 1 and 2",
    ),
    "channels last": ({"shape": ("N", 112, 112, 24)}, "input shape [?, 112, 112, 24] is not [N, 3, S, S]"),
    "fails on crops": (
        {
            "shape": ("N", 3, "H", "W"),
            "end": [
                helper.make_node("Constant", [], ["seven"], value_ints=[7, 7]),
                helper.make_node("Reshape", ["row", "seven"], ["embedding"]),
            ],
            "output": ("N", "D"),
        },
        "it cannot be run on a crop of 112 pixels",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_embedding_model_is_said(facekd, tmp_path: Path, name: str) -> None:
    settings, told = ODD[name]
    model = write_network(tmp_path / "odd.onnx", **settings)
    for command in (
        ("card", model),
        ("card", model, "--convention", "insightface"),
        ("verify", tmp_path / "a", tmp_path / "b", "--model", model, "--threshold", 0.3),
    ):
        ran = facekd(*command)
        assert ran.code == Exit.IO, ran.err
        assert told in ran.err


def test_pixels_of_whole_numbers_are_said(tmp_path: Path) -> None:
    model = load_onnx(write_tiny_model(tmp_path / "x.onnx"))
    del model.metadata_props[:]
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    cast = helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT)
    model.graph.node[0].input[0] = "floats"
    model.graph.node.insert(0, cast)
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(Unreadable, match="is fed uint8; only float32 and float16 are supported"):
        load_embedder(tmp_path / "x.onnx")


def test_half_precision_serves(facekd, tmp_path: Path) -> None:
    wanted = load_embedder(write_network(tmp_path / "single.onnx")).embed(CROPS)
    model = write_network(tmp_path / "half.onnx", pixels=TensorProto.FLOAT16)
    rows = load_embedder(model).embed(CROPS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, wanted, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    ran = facekd("card", model, "--convention", "insightface")
    assert ran.code == Exit.DONE, ran.err


def test_sizes_that_the_file_leaves_open_are_found_by_a_run(tmp_path: Path) -> None:
    model = write_network(tmp_path / "open.onnx", shape=(2, 3, "H", "W"), output=(2, "D"))
    embedder = load_embedder(model)
    assert (embedder.card.input.size, embedder.card.embedding.dim) == (112, 16)
    assert embedder.embed(CROPS).shape == (5, 16)


@pytest.mark.parametrize(
    ("size", "dim", "told"),
    [
        (96, 16, "the card states crops of 96, but the network has crops of 112"),
        (112, 9, "the card states embeddings of 9, but the network has embeddings of 16"),
    ],
)
def test_a_card_of_other_sizes_does_not_fit(tmp_path: Path, size: int, dim: int, told: str) -> None:
    network = load_onnx(write_network(tmp_path / "x.onnx"))
    crop = LandmarkCrop(size=size)
    card = Card(name="x", input=InputSpec(size=size), crop=crop, embedding=EmbeddingSpec(dim=dim))
    write_card(network, card, tmp_path / "x.onnx")
    with pytest.raises(Misfit, match=told):
        load_embedder(tmp_path / "x.onnx")


def test_a_network_that_fails_on_its_crops_is_a_misfit(tmp_path: Path) -> None:
    end = [
        helper.make_node("Constant", [], ["one"], value_ints=[1, 16]),
        helper.make_node("Reshape", ["row", "one"], ["embedding"]),
    ]
    embedder = load_embedder(write_network(tmp_path / "x.onnx", end=end))
    assert embedder.embed(CROPS[:1]).shape == (1, 16)
    with pytest.raises(Misfit, match="cannot be run on crops of its card"):
        embedder.embed(CROPS)


def test_a_model_that_is_not_there_says_where_one_comes_from(
    facekd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facekd.weights.shipped_model", lambda: None)
    with pytest.raises(InputOutput, match="no such model file") as error:
        load_embedder(tmp_path / "absent.onnx")
    assert "facekd export" in str(error.value.fix)
    for command in (
        ("card", "absent.onnx"),
        ("verify", "a", "b", "--model", "absent.onnx"),
        ("verify", "a", "b"),
        ("evaluate", "absent.onnx", "--data", tmp_path),
        ("benchmark", "absent.onnx", "absent.onnx"),
        ("calibrate", "absent.onnx", "--data", tmp_path),
    ):
        ran = facekd(*command)
        assert ran.code == Exit.USAGE
        assert "facekd export" in ran.err


def test_a_model_that_must_not_be_read_is_no_usage_error(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    model.chmod(0)
    # whoever may read everything is first made to be as others are
    as_others: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root reads every file, and setpriv is not there to prevent it")
        as_others = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]
    ran = subprocess.run(
        [*as_others, sys.executable, "-m", "facekd", "card", str(model)], capture_output=True, text=True
    )
    assert ran.returncode == Exit.IO, ran.stderr
    assert "Permission denied" in ran.stderr
