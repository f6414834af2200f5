"""Weights that are limited so that no sum overflows on a processor without VNNI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from facekd.card import Card, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.errors import Misfit, UsageError
from facekd.export import export, to_onnx
from facekd.export.pair_limits import cut_pairs
from facekd.export.quantise import check_cosine, quantise
from facekd.models import FaceNet
from facekd.runtime import LARGEST_SUM, all_sums_fit, largest_sums, load_embedder, open_session


@pytest.fixture(scope="module")
def weights() -> NDArray:
    rows = np.random.default_rng(0).normal(size=(24, 16, 3, 3))
    rows[3] = 0  # a channel that is switched off
    rows[5, ::2] = 0  # no two neighbours
    rows[7, 4:6, 1, 1] = 20  # two outliers side by side
    return rows


def in_steps(cut: NDArray, steps: NDArray) -> NDArray:
    return np.round(cut / steps[:, None, None, None])


def errors(weights: NDArray, cut: NDArray, steps: NDArray) -> NDArray:
    back = in_steps(cut, steps) * steps[:, None, None, None]
    return ((back - weights) ** 2).sum((1, 2, 3))


def test_all_pairs_fit_in_whole_steps(weights: NDArray) -> None:
    cut, steps = cut_pairs(weights)
    whole = in_steps(cut, steps)
    assert np.abs(whole).max() <= 127
    one, other = whole[:, ::2], whole[:, 1::2]
    assert np.abs(one + other)[np.sign(one) == np.sign(other)].max() == LARGEST_SUM


def test_weights_that_fit_are_not_changed(weights: NDArray) -> None:
    cut, steps = cut_pairs(weights)
    for channel in (3, 5):
        np.testing.assert_array_equal(cut[channel], weights[channel])
    assert steps[5] == pytest.approx(np.abs(weights[5]).max() / 127)
    assert steps[3] > 0


def test_the_step_is_better_than_cutting_everything_or_nothing(weights: NDArray) -> None:
    cut, steps = cut_pairs(weights)
    chosen = errors(weights, cut, steps).sum()
    finest = np.abs(weights).max((1, 2, 3)) / 127
    finest[3] = 1
    nothing_cut = np.maximum(finest, largest_sums(weights) / (LARGEST_SUM - 0.5))
    assert chosen < errors(weights, weights, nothing_cut).sum()
    one, other = (weights[:, start::2] / finest[:, None, None, None] for start in (0, 1))
    over = np.maximum(np.abs(one + other) - LARGEST_SUM + 0.5, 0) * (np.sign(one) == np.sign(other)) / 2
    everything = weights.copy()
    everything[:, ::2] -= np.sign(one) * over * finest[:, None, None, None]
    everything[:, 1::2] -= np.sign(other) * over * finest[:, None, None, None]
    assert chosen < errors(weights, everything, finest).sum()


def test_an_export_for_any_processor_answers_alike_with_and_without_the_sessions_option(
    run_folder: Path,
) -> None:
    pack = run_folder.parent.parent / "pack.zip"
    done = export(run_folder, run_folder / "any.onnx", [pack], int8=True, any_processor=True)
    model = onnx.load(done.path)
    assert all_sums_fit(model)
    assert done.card.metrics["int8_cosine"] > 0.98
    planes = np.random.default_rng(0).normal(size=(3, 3, 112, 112)).astype(np.float32)
    one, other = (
        open_session(done.path, threads=1, sums_fit=fit).run(None, {"planes": planes})[0]
        for fit in (True, False)
    )
    np.testing.assert_array_equal(one, other)
    crops = np.random.default_rng(1).integers(0, 256, (2, 112, 112, 3), np.uint8)
    assert load_embedder(done.path).embed(crops).shape == (2, done.card.embedding.dim)


def test_a_network_whose_sums_may_overflow_is_known(exported: onnx.ModelProto, planes: NDArray) -> None:
    plain, limited = (quantise(exported, planes, any_processor=fit) for fit in (False, True))
    assert not all_sums_fit(plain)
    assert all_sums_fit(limited)
    assert all_sums_fit(exported)
    assert check_cosine(exported, limited, planes) > 0.98


def test_a_network_with_other_products_is_refused(planes: NDArray) -> None:
    """A linear layer of every pixel becomes a product with a matrix whose last dimension is the output."""
    net = FaceNetOfPixels().eval()
    card = Card(name="t", input=InputSpec(), crop=LandmarkCrop(), embedding=EmbeddingSpec(dim=8))
    model = to_onnx(net, card)
    assert "MatMul" in {node.op_type for node in model.graph.node}
    quantise(model, planes)
    with pytest.raises(Misfit, match="sums may still overflow"):
        quantise(model, planes, any_processor=True)


class FaceNetOfPixels(FaceNet):
    def __init__(self) -> None:
        super().__init__()
        self.dim = 8
        self.conv = nn.Conv2d(3, 16, 7, 7)
        self.linear = nn.Linear(16, 8)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(planes).flatten(2).transpose(1, 2)).mean(1)


def test_it_needs_int8(run_folder: Path) -> None:
    with pytest.raises(UsageError, match="--any-processor needs --int8"):
        export(run_folder, any_processor=True)
