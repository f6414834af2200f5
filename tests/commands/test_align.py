"""`facekd align` and `facekd detector export`, through the command line."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from facekd.preprocess import decode

Run = Callable[..., Any]
PORTRAIT = np.ascontiguousarray(skimage.data.astronaut()[20:240, 120:340])


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A face, and a photo of nobody."""
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos" / "ada").mkdir(parents=True)
    Image.fromarray(PORTRAIT).save(tmp_path / "photos" / "ada" / "one.png")
    Image.new("RGB", (90, 90)).save(tmp_path / "photos" / "nobody.png")
    return tmp_path / "photos"


def test_align_a_folder_twice(facekd: Run, photos: Path, tmp_path: Path) -> None:
    first = facekd("align", photos, tmp_path / "crops")
    assert first.code == 0
    assert first.out.strip() == "2 photos: 1 with a face (1 crops), 1 no_face"
    assert "crops.report.jsonl" in first.err
    assert decode(tmp_path / "crops" / "ada" / "one.webp").pixels.shape == (112, 112, 3)
    second = facekd("align", photos, tmp_path / "crops")
    assert (second.code, second.out) == (0, first.out)
    assert "2 of them were done by an earlier run" in second.err


def test_align_into_a_pack_with_json(facekd: Run, photos: Path, tmp_path: Path) -> None:
    ran = facekd("align", photos, tmp_path / "crops.zip", "--json", "--format", "jpg", "--on-many", "skip")
    assert ran.code == 0
    said = json.loads(ran.out)
    assert said == {
        "schema": "align/1",
        "photos": 2,
        "with_face": 1,
        "crops": 1,
        "several": 0,
        "resumed": 0,
        "reasons": {"no_face": 1},
        "report": str(tmp_path / "crops.zip.report.jsonl"),
    }
    assert zipfile.ZipFile(tmp_path / "crops.zip").namelist() == ["ada/one.jpg"]


def test_exit_codes(facekd: Run, photos: Path, tmp_path: Path) -> None:
    alone = facekd("align", photos / "nobody.png", tmp_path / "none")
    assert (alone.code, alone.out.strip()) == (3, "1 photos: 0 with a face (0 crops), 1 no_face")
    (tmp_path / "empty.jpg").touch()
    assert facekd("align", tmp_path / "empty.jpg", tmp_path / "void").code == 3
    assert facekd("align", photos, photos / "crops").code == 2
    assert facekd("align", tmp_path / "absent", tmp_path / "crops").code == 2
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not a zip")
    assert facekd("align", tmp_path / "broken.zip", tmp_path / "crops").code == 5
    (tmp_path / "file").touch()
    blocked = facekd("align", photos, tmp_path / "file" / "crops")
    assert blocked.code == 5
    assert "cannot be written" in blocked.err
    yunet = facekd("align", photos, tmp_path / "crops", "--detector", "yunet")
    assert (yunet.code, "--detector yunet:FILE" in yunet.err) == (2, True)


def test_the_crop_of_a_model(facekd: Run, photos: Path, tmp_path: Path) -> None:
    from facekd.card.contract import ARCFACE_TEMPLATE, Card, EmbeddingSpec, InputSpec, LandmarkCrop
    from facekd.card.onnx_file import write_card

    model = tiny_model(64)
    spec = LandmarkCrop(size=64, template=tuple((x * 64 / 112, y * 64 / 112) for x, y in ARCFACE_TEMPLATE))
    card = Card(name="tiny", input=InputSpec(size=64), crop=spec, embedding=EmbeddingSpec(dim=3))
    write_card(model, card, tmp_path / "tiny.onnx")
    assert facekd("align", photos, tmp_path / "crops", "--spec", tmp_path / "tiny.onnx").code == 0
    assert decode(tmp_path / "crops" / "ada" / "one.webp").pixels.shape == (64, 64, 3)


def tiny_model(size: int) -> Any:
    """Mean colour as an embedding."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["e"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, size, size])
    result = helper.make_tensor_value_info("e", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "tiny", [given], [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_exported_files_serve_elsewhere(
    facekd: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = facekd("detector", "export", tmp_path / "mtcnn")
    assert (ran.code, ran.out.strip()) == (0, str(tmp_path / "mtcnn"))
    assert facekd("detector", "export", photos / "nobody.png").code == 5
    real, hidden = importlib.util.find_spec, ("facenet_pytorch", "mtcnnruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n in hidden else real(n, *a))
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "another"))
    without = facekd("align", photos, tmp_path / "crops")
    assert without.code == 2
    assert "facekd detector export DIR" in without.err
    monkeypatch.setenv("FACEKD_DETECTOR", f"mtcnn:{tmp_path / 'mtcnn'}")
    assert facekd("align", photos, tmp_path / "crops").code == 0
