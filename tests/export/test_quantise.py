"""Static int8: the contents of the file, its output, and when it is refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from facekd.card import read_card
from facekd.errors import Misfit, UsageError
from facekd.export import export
from facekd.export.equalise import equalise
from facekd.export.quantise import activation_bytes, check_cosine, check_tar, for_ranges, quantise
from facekd.runtime import load_embedder, open_session
from facekd.verification import all_pairs


def test_each_channel_of_a_weight_has_its_own_step(exported: onnx.ModelProto, planes: np.ndarray) -> None:
    held = {w.name: numpy_helper.to_array(w) for w in quantise(exported, planes).graph.initializer}
    equal = equalise(exported, planes)
    weights = {w.name: numpy_helper.to_array(w) for w in equal.graph.initializer}
    first, *kernels, pool = [node.input[1] for node in exported.graph.node if node.op_type == "Conv"]
    assert len(kernels) > 5
    for name in (first, pool):
        np.testing.assert_array_equal(held[name], weights[name])
    for name in kernels:
        whole, scale = held[f"{name}_quantized"], held[f"{name}_scale"]
        assert whole.dtype == np.int8
        assert scale.shape == (len(whole),)
        back = whole.astype(np.float32) * scale[:, None, None, None]
        # rounded up or down to make up for others: mostly by less than a step
        assert (np.abs(back - weights[name]).mean((1, 2, 3)) < scale).all()
        # the largest weight of a channel sets its step
        np.testing.assert_allclose(scale, np.abs(weights[name]).max((1, 2, 3)) / 127, rtol=0.01)


def _last_layer(model: onnx.ModelProto, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The input [N, P] and the output [N, D] of the last linear layer."""
    last = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
    names = [last.input[0], last.output[0]]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    given, made = open_session(shown.SerializeToString()).run(names, {"planes": planes})
    return given, made


def test_the_last_layer_makes_the_best_of_what_it_gets(exported: onnx.ModelProto, planes: np.ndarray) -> None:
    """No other linear layer would bring the quantised network nearer to the float32 one on these crops."""
    mirrored = np.concatenate([planes, planes[..., ::-1]])
    many = np.concatenate([np.roll(mirrored, shift, axis=2) for shift in (0, 9, 18)])
    assert len(many) > 3 * 96
    given, made = _last_layer(quantise(exported, many), many)
    _, wanted = _last_layer(exported, many)
    inputs = np.hstack([given, np.ones((len(given), 1))])
    best = inputs @ np.linalg.lstsq(inputs, wanted, rcond=None)[0]
    # the layer is rounded to int8 itself, and its ridge is small
    assert ((wanted - made) ** 2).mean() < ((wanted - best) ** 2).mean() + 1e-3 * wanted.var()


def test_of_few_crops_the_last_layer_learns_nothing(exported: onnx.ModelProto, planes: np.ndarray) -> None:
    """96 inputs, and 64 crops: it could give exactly these, and worse embeddings of all others."""
    made = {w.name: numpy_helper.to_array(w) for w in quantise(exported, planes).graph.initializer}
    equal = {w.name: numpy_helper.to_array(w) for w in equalise(exported, planes).graph.initializer}
    (name,) = [node.input[1] for node in exported.graph.node if node.op_type == "Gemm"]
    scale = made[f"{name}_scale"][:, None]
    assert (np.abs(made[f"{name}_quantized"] * scale - equal[name]) <= 0.5001 * scale).all()


def test_it_gives_nearly_the_same_embeddings(exported: onnx.ModelProto, planes: np.ndarray) -> None:
    assert check_cosine(exported, quantise(exported, planes), planes) > 0.98
    other = onnx.ModelProto()
    other.CopyFrom(exported)
    for weight in other.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.ndim == 4:
            weight.CopyFrom(numpy_helper.from_array(values[::-1].copy(), weight.name))
    with pytest.raises(Misfit, match="mean cosine"):
        check_cosine(exported, other, planes)


def test_too_few_crops_and_too_much_lost_are_refused(exported: onnx.ModelProto, planes: np.ndarray) -> None:
    with pytest.raises(UsageError, match="63 crops are too few"):
        quantise(exported, planes[:63])
    check_tar({1e-3: 0.9}, {1e-3: 0.896})
    with pytest.raises(Misfit, match=r"0\.60 points of TAR at FMR 0\.001"):
        check_tar({1e-2: 0.95, 1e-3: 0.9}, {1e-2: 0.95, 1e-3: 0.894})
    with pytest.raises(Misfit):
        check_tar({1e-3: 0.9}, {1e-3: float("nan")})


def test_an_int8_export_has_a_space_and_thresholds_of_its_own(run_folder: Path) -> None:
    pack = run_folder.parent.parent / "pack.zip"
    whole = export(run_folder, run_folder / "whole.onnx", [pack])
    bars: dict[str, list[int]] = {}

    @contextmanager
    def bar(title: str, total: int | None) -> Iterator[Callable[..., None]]:
        bars[title] = [0, total or 0]

        def advance(done: int = 1) -> None:
            bars[title][0] += done

        yield advance

    done = export(run_folder, data=[pack], int8=True, progress=bar)
    assert list(bars) == ["quantise", "compare", "calibrate", "photo limits"]
    assert all(total > 0 for _, total in bars.values())
    assert bars["compare"][0] == bars["compare"][1] == 2 * bars["calibrate"][1]
    assert bars["calibrate"][0] == bars["calibrate"][1]
    # whole batches only
    assert 0 <= bars["quantise"][1] - bars["quantise"][0] < 32
    assert done.path == run_folder / "student-int8.onnx"
    assert done.path.stat().st_size < 0.4 * whole.path.stat().st_size
    card, found = read_card(done.path)
    assert found
    assert card == done.card
    assert card.space != whole.card.space
    assert card.metrics["int8_cosine"] > 0.98
    # the threshold is that of the int8 network: found again from its own embeddings
    from facekd.training.data import open_crops

    crops = open_crops(labelled=[pack])
    rows = load_embedder(done.path).embed(np.stack([crops.read(i) for i in range(len(crops))]))
    pairs = all_pairs(rows, crops.labels)
    (entry,) = card.calibration
    assert entry.threshold == pytest.approx(pairs.threshold_at(entry.fmr), abs=1e-4)
    assert entry.counts.false_matches == pytest.approx(pairs.false_matches(entry.threshold), abs=2)


def test_a_large_network_gets_as_many_crops_as_fit_in_memory() -> None:
    """Two convolutions: 8 channels of 112 x 112 and 4 of 56 x 56, and 4 means."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    buffer = io.BytesIO()
    torch.onnx.export(
        net, (torch.zeros(1, 3, 112, 112),), buffer, input_names=["planes"], dynamo=False,
        dynamic_axes={"planes": {0: "n"}},
    )  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    expected = 4 * (8 * 112 * 112 + 4 * 56 * 56 + 4 + 4)
    assert activation_bytes(model) == expected
    planes = np.zeros((2048, 1), np.float32)
    assert len(for_ranges(model, planes)) == 1024
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facekd.export.quantise._MOST_BYTES", 200 * expected)
        assert len(for_ranges(model, planes)) == 205  # each tenth: 192 would fit in whole batches
        patch.setattr("facekd.export.quantise._MOST_BYTES", expected)
        assert len(for_ranges(model, planes)) == 64
