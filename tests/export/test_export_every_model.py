"""Every network of the registry can be deployed: it exports, loads, and gives torch's rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from facekd.card.contract import Card, EmbeddingSpec, LandmarkCrop
from facekd.card.onnx_file import write_card
from facekd.export import to_onnx
from facekd.models import FaceNet, build_model, model_names, to_planes
from facekd.runtime import load_embedder

#: the same blocks as iresnet18, only more of them
DEEPER = {"iresnet34", "iresnet50", "iresnet100"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(model_names()) - DEEPER))
def test_it_exports_and_loads(
    name: str, crops: np.ndarray, settled: Callable[[FaceNet], FaceNet], tmp_path: Path
) -> None:
    net = settled(build_model(name, dim=256))
    card = Card(name=name, input=net.input, crop=LandmarkCrop(size=112), embedding=EmbeddingSpec(dim=net.dim))
    write_card(to_onnx(net, card), card, tmp_path / "net.onnx")
    rows = load_embedder(tmp_path / "net.onnx").embed(crops[:3])
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(net(to_planes(crops[:3], net.input))).numpy()
    np.testing.assert_allclose(rows, wanted, atol=1e-4)
    assert (wanted @ wanted.T).min() < 0.9  # three rows, not one three times
