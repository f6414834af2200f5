"""Every network of the registry can be deployed: it exports, loads, and gives torch's rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facekd.card import Card, EmbeddingSpec, LandmarkCrop
from facekd.export import export_network
from facekd.models import FaceNet, build_model, model_names
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
    export_network(net, card, tmp_path / "net.onnx", crops)
    rows = load_embedder(tmp_path / "net.onnx").embed(crops[:3])
    assert rows.shape == (3, 256)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
