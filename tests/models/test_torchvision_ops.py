"""torchvision must be importable, and suppress boxes correctly, whatever builds are installed together."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from facekd.models._torchvision_ops import nms

_IMPORTS = """
from facekd.models._torchvision_ops import ensure_torchvision_ops
ensure_torchvision_ops()
ensure_torchvision_ops()  # a second call changes nothing
import torch
import torchvision.transforms.v2
from facenet_pytorch import MTCNN
from torchvision.ops import batched_nms
boxes = torch.tensor([[0., 0., 10., 10.], [1., 1., 11., 11.], [0., 0., 10., 10.]])
scores = torch.tensor([0.5, 0.9, 0.4])
print(batched_nms(boxes, scores, torch.tensor([0, 0, 1]), 0.5).tolist())
faces, _ = MTCNN(device="cpu").detect(torch.zeros(1, 96, 96, 3, dtype=torch.uint8))
print(faces[0])
"""


def test_torchvision_and_mtcnn_import_in_a_fresh_process() -> None:
    ran = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n")[:2] == ["[1, 2]", "None"]


def test_suppression_equals_the_definition() -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 60, (120, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (120, 2))], axis=1)
    scores = rng.uniform(size=120).round(1)  # ties on purpose
    for threshold in (0.2, 0.5, 0.8):
        kept: list[int] = []
        for index in sorted(range(120), key=lambda i: (-scores[i], i)):
            if all(_overlap(boxes[index], boxes[other]) <= threshold for other in kept):
                kept.append(index)
        found = nms(torch.tensor(boxes), torch.tensor(scores), threshold)
        assert found.tolist() == kept


def test_suppression_of_no_boxes() -> None:
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).shape == (0,)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))
