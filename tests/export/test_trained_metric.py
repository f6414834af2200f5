"""The metric of a projector is kept at export: the cosines that were trained are those that are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from facekd.card import Card, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.errors import Misfit
from facekd.export import export
from facekd.export.measured_crops import measured_crops
from facekd.export.onnx_graph import run_graph, to_onnx
from facekd.export.trained_metric import in_trained_metric, linear_projector
from facekd.models import FaceNet, build_model, to_planes
from facekd.runtime import load_embedder


def card_of(net: FaceNet) -> Card:
    return Card(
        name="x", architecture="x", input=InputSpec(), crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=net.dim), licence="none",
    )  # fmt: skip


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


# plainres_small has 96 numbers before its last layer
@pytest.mark.parametrize(("dim", "left"), [(24, 24), (256, 96)])
def test_cosines_are_those_behind_the_projector(
    dim: int, left: int, settled: Callable, crops: np.ndarray
) -> None:
    net = settled(build_model("plainres_small", dim=dim))
    planes = to_planes(crops, net.input)
    with torch.no_grad():
        plain = net(planes).double().numpy()
    projector = np.random.default_rng(0).normal(size=(300, dim))
    mean = plain[:40].mean(0)
    model = to_onnx(net, card_of(net))
    before = model.SerializeToString()
    changed = in_trained_metric(model, projector, mean)
    rows = run_graph(changed, planes.numpy(), 8)
    assert rows.shape == (64, left)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(cosines(rows), cosines((plain - mean) @ projector.T), atol=2e-4)
    assert model.SerializeToString() == before
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in changed.graph.initializer}
    assert weights["net.head.weight"].shape == (left, 96)  # no layer more


def test_a_graph_that_ends_otherwise_is_refused(settled: Callable) -> None:
    net = settled(build_model("plainres_small", dim=24))
    model = to_onnx(net, card_of(net))
    (last,) = [node for node in model.graph.node if node.op_type == "Gemm"]
    last.op_type = "MatMul"
    with pytest.raises(Misfit, match="does not end with one linear layer"):
        in_trained_metric(model, np.eye(24), np.zeros(24))


def test_only_one_linear_projector_counts() -> None:
    one = {"losses.0.match.projector.weight": torch.ones(3, 2), "losses.1.weight": torch.ones(2, 2)}
    np.testing.assert_array_equal(linear_projector(one), np.ones((3, 2)))
    assert linear_projector({**one, "losses.1.match.projector.weight": torch.ones(3, 2)}) is None
    assert linear_projector({"losses.0.match.projector.0.weight": torch.ones(3, 2)}) is None
    assert linear_projector({"losses.1.weight": torch.ones(2, 2)}) is None


def _trained_through(run: Path, projector: np.ndarray) -> None:
    weight = torch.from_numpy(projector.astype(np.float32))
    for checkpoint in (run / "checkpoints").glob("step-*"):
        save_file({"losses.0.match.projector.weight": weight}, checkpoint / "task.safetensors")


@pytest.mark.parametrize("better", [True, False])
def test_a_run_keeps_the_metric_that_is_no_worse(
    run_folder: Path, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    packs = [run_folder.parent.parent / "pack.zip"]
    plain = export(run_folder, run_folder / "plain.onnx", packs)
    assert plain.metric is None
    # a projector that leaves every cosine as it is: what changes them is the mean
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 24)))[0]
    _trained_through(run_folder, turned)
    # a run this short has no metric worth anything: whether it is better is told, not measured
    tars = iter([{1e-2: 0.9, 1e-3: 0.5}, {1e-2: 0.9, 1e-3: 0.6 if better else 0.4}])
    monkeypatch.setattr("facekd.export.run_export._tars", lambda *_: next(tars))
    done = export(run_folder, run_folder / "other.onnx", packs)
    assert done.metric is not None
    assert done.metric.kept == better
    assert (done.card.space == plain.card.space) != better
    assert done.card.metrics == ({"plain_tar_0.01": 0.9, "plain_tar_0.001": 0.5} if better else {})
    rows, own = load_embedder(done.path).embed(crops), load_embedder(plain.path).embed(crops)
    assert (np.abs(cosines(rows) - cosines(own)).max() > 1e-3) == better


def test_what_is_gained_is_measured_on_both(run_folder: Path) -> None:
    packs = [run_folder.parent.parent / "pack.zip"]
    plain = export(run_folder, run_folder / "plain.onnx", packs)
    _trained_through(run_folder, np.random.default_rng(0).normal(size=(1, 24)))
    gain = export(run_folder, run_folder / "other.onnx", packs).metric
    assert gain is not None
    crops = measured_crops(packs, run_folder).choosing
    assert crops is not None
    rows = load_embedder(plain.path).embed(np.stack([crops.read(index) for index in range(len(crops))]))
    same = crops.labels[:, None] == crops.labels
    upper = np.triu(np.ones(same.shape, bool), 1)
    scores, mated = rows @ rows.T, same & upper
    others = np.sort(scores[~same & upper])[::-1]
    allowed = int(1e-2 * len(others))
    assert gain.tar_plain == {1e-2: pytest.approx((scores[mated] > others[allowed]).mean(), abs=2e-3)}
    assert set(gain.tar) == {1e-2}
