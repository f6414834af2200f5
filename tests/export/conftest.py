"""Crops that every clone has, networks with settled batch norms, and a run folder of one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from facekd.card import Card, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.export import to_onnx
from facekd.models import FaceNet, build_model, to_planes

RECIPE = """
seed = 1
[data]
labelled = ["{pack}"]
heldout = "{heldout}"
name = "windows"
[student]
name = "plainres_small"
settings = {{ dim = 24 }}
[[loss]]
name = "arcface"
[schedule]
images = 64
batch = 8
"""


def windows(count: int, seed: int = 0) -> np.ndarray:
    """Pieces of a real photo, uint8 RGB [count, 112, 112, 3], at many places and sizes."""
    from skimage.data import astronaut

    photo, rng = astronaut(), np.random.default_rng(seed)
    pieces = []
    for _ in range(count):
        side = int(rng.integers(60, 300))
        x, y = rng.integers(0, 512 - side, 2)
        pieces.append(cv2.resize(photo[y : y + side, x : x + side], (112, 112)))
    return np.stack(pieces)


def season(net: FaceNet, seed: int = 0) -> FaceNet:
    """Give every batch norm a scale and shift of its own and the statistics of real pixels, as
    training would. A new network has ones and zeros there, which hides a batch norm that was
    folded wrongly, and gives every face nearly the same embedding."""
    torch.manual_seed(seed)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.2)
        norm.momentum = 1.0  # the statistics of the next batch, whole
    with torch.no_grad():
        net.train()(to_planes(windows(16, seed=9), net.input))
    return net.eval()


@pytest.fixture(scope="session")
def crops() -> np.ndarray:
    return windows(64)


@pytest.fixture(scope="session")
def settled() -> Callable[[FaceNet], FaceNet]:
    return season


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run as training leaves it: recipe, pack with ten people, two checkpoints, links."""
    pack = tmp_path / "pack.zip"
    people = [f"p{number}" for number in range(10)]
    pieces = iter(windows(200, seed=2))
    with zipfile.ZipFile(pack, "w") as archive:
        for person in people:
            for number in range(20):
                encoded = cv2.imencode(".png", next(pieces)[..., ::-1])[1].tobytes()
                archive.writestr(f"{person}/{number}.png", encoded)
    heldout = tmp_path / "heldout.txt"
    heldout.write_text("\n".join(people))
    run = tmp_path / "runs" / "first"
    for step, seed in ((4, 1), (8, 2)):
        checkpoint = run / "checkpoints" / f"step-{step}"
        checkpoint.mkdir(parents=True)
        net = season(build_model("plainres_small", dim=24), seed)
        save_file(net.state_dict(), checkpoint / "model.safetensors")
        (checkpoint / "state.json").write_text(f'{{"step": {step}, "images": {step * 8}}}')
    (run / "checkpoints" / "best").symlink_to("step-4")
    (run / "checkpoints" / "last").symlink_to("step-8")
    (run / "recipe.toml").write_text(RECIPE.format(pack=pack, heldout=heldout))
    return run


@pytest.fixture(scope="module")
def exported(settled: Callable[[FaceNet], FaceNet]) -> onnx.ModelProto:
    net = settled(build_model("plainres_small", dim=24))
    card = Card(name="t", input=InputSpec(), crop=LandmarkCrop(), embedding=EmbeddingSpec(dim=24))
    return to_onnx(net, card)


@pytest.fixture(scope="module")
def planes(crops: np.ndarray) -> np.ndarray:
    return to_planes(crops, InputSpec()).numpy()
