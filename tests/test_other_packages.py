"""Somebody else's package adds a protocol, a detector, a loss and a network: one file each, and nothing of
facekd is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from other_packages import install
from tiny_model import write_tiny_model

PROTOCOL = """
from facekd.verification.protocols import Pair, PairList, pair_list, read_text, register

@register("twins", "two names a line", lists=("twins.two",), suffixes=(".two",), pairs_of_photos=True)
def read(path) -> PairList:
    rows = [line.split() for line in read_text(path).splitlines()]
    return pair_list("twins", path, [Pair(a, b, a.split("/")[0] == b.split("/")[0]) for a, b in rows])

@register("nameless", "a list of no usual name", pairs_of_photos=True)
def read_nameless(path) -> PairList:
    return read(path)
"""

DETECTOR = """
import numpy as np
from facekd.preprocess import Face
from facekd.preprocess.detectors import register

class Middle:
    name = "middle"

    def detect(self, pixels):
        points = np.array([[.34, .46], [.66, .46], [.5, .64], [.37, .82], [.63, .82]], np.float32)
        size = np.float32(pixels.shape[1])
        return [Face(np.array([0, 0, size, size], np.float32), 0.9, points * size)]

@register("middle", "middle[:NOTHING]")
def middle(file, device, threads):
    return Middle()
"""

LOSS = """
import torch
from facekd.distillation.losses import Loss, register_loss

@register_loss("huber")
class Huber(Loss):
    whole_batch = False

    def __init__(self, setting, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, student, teacher, example, progress):
        huber = torch.nn.functional.huber_loss
        return {"huber": huber(student.embedding, teacher.embedding, delta=self.delta)}
"""

NETWORK = """
from torch import nn
from facekd.models import FaceNet, register

class Flat(FaceNet):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.head = dim, nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(147, dim))

    def forward(self, planes):
        return self.head(planes)

@register("flat")
def flat(dim: int = 8) -> Flat:
    return Flat(dim)
"""

POINTS = """[facekd.protocols]
twins = extra_protocol
nameless = extra_protocol
[facekd.detectors]
middle = extra_detector
broken = extra_nowhere
[facekd.losses]
huber = extra_loss
[facekd.models]
flat = extra_network
"""


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    modules = {"protocol": PROTOCOL, "detector": DETECTOR, "loss": LOSS, "network": NETWORK}
    place = tmp_path_factory.mktemp("site") / "packages"
    return install(place, "facekd-extra", {f"extra_{name}": text for name, text in modules.items()}, POINTS)


def python(extra: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own, so that this one's registries stay as they are."""
    path = os.pathsep.join([str(extra), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of each of eight patterns, whole pictures that serve as crops."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for person in range(8):
        (folder / f"p{person}").mkdir()
        face = cv2.resize(random.uniform(0, 255, (7, 7, 3)).astype(np.float32), (112, 112))
        for number in range(3):
            noisy = np.clip(face + 20 * random.normal(size=face.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"p{person}" / f"{number}.png"), noisy)
    return folder


def test_a_protocol_is_suggested_helped_and_run(extra: Path, photos: Path, tmp_path: Path) -> None:
    mated = [f"p{n}/0.png p{n}/{k}.png" for n in range(8) for k in (1, 2)]
    others = [f"p{n}/{k}.png p{(n + 1) % 8}/{k}.png" for n in range(8) for k in (0, 1)]
    (photos / "twins.two").write_text("\n".join(mated + others))
    model = write_tiny_model(tmp_path / "tiny.onnx")
    command = ("-m", "facekd", "evaluate", model, "--data", photos, "--aligned", "--json")
    suggested = python(extra, *command, "--pairs", photos / "twins.two")
    named = python(extra, *command, "--protocol", "twins")
    assert suggested.returncode == named.returncode == 0, suggested.stderr + named.stderr
    assert f"list of pairs: {photos / 'twins.two'}" in named.stderr
    told = json.loads(suggested.stdout)
    assert told["protocol"] == "twins"
    assert told["models"][0]["comparisons"]["mated"] == 16
    without = python(extra, *command, "--protocol", "nameless")
    assert without.returncode == 2
    assert "protocol nameless needs its list\nGive it with --pairs FILE." in without.stderr
    for name in ("evaluate", "benchmark", "degrade"):
        shown = " ".join(python(extra, "-m", "facekd", name, "--help").stdout.split())
        assert "twins (two names a line)" in shown
        assert "twins for a --pairs FILE.two" in shown


def test_a_detector_is_named_and_a_broken_one_hinders_nobody(
    extra: Path, photos: Path, tmp_path: Path
) -> None:
    align = ("-m", "facekd", "align", photos)
    ran = python(extra, *align, tmp_path / "crops", "--detector", "middle")
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "crops").glob("*/*"))) == len(list(photos.glob("*/*.png")))
    broken = python(extra, *align, tmp_path / "other", "--detector", "broken")
    assert broken.returncode == 2
    assert "the detector 'broken' of the package facekd-extra cannot be loaded" in broken.stderr
    shown = " ".join(python(extra, "-m", "facekd", "align", "--help").stdout.split())
    assert "mtcnn[:DIR], scrfd:FILE, yunet:FILE or middle[:NOTHING]" in shown


def test_a_loss_and_a_network_are_built_by_name(extra: Path) -> None:
    program = """
import torch
from facekd.distillation.losses import Classes, Setting, check_settings, loss_class, loss_names
from facekd.models import Outputs, Targets, build_model, check_model, model_names, rehearse_model

assert {"huber", "cosine"} <= set(loss_names())
assert {"flat", "plainres"} <= set(model_names())
assert check_settings("huber", {"delta": 2}) == []
assert "delta" in check_settings("huber", {"delta": "two"})[0]
assert check_model("flat", {"dim": 4}) == []
classes = Classes(torch.zeros(1, dtype=torch.int64), torch.zeros(0, 4))
loss = loss_class("huber")(Setting(4, 4, classes, torch.zeros(0, 4)), delta=2.0)
embedding = build_model("flat", dim=4)(torch.zeros(3, 3, 112, 112))
terms = loss(Outputs(embedding), Targets(torch.zeros(3, 4)), None, 0.0)
print(rehearse_model("flat", {"dim": 4}).network.dim, list(terms))
"""
    ran = python(extra, "-c", program)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "4 ['huber']\n"
