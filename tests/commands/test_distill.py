"""``facekd distill`` and ``facekd train`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

RECIPE = """
[data]
labelled = ["crops"]
[student]
name = "plainres"
settings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }
[teacher]
models = ["teacher.onnx"]
views = 1
[[loss]]
name = "cosine"
[schedule]
images = 48
batch = 8
evaluations = 2
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for person in range(4):
        (tmp_path / "crops" / f"p{person}").mkdir(parents=True)
        for number in range(3):
            pixels = cv2.resize(rng.integers(0, 256, (9, 9, 3), np.uint8), (112, 112))
            cv2.imwrite(str(tmp_path / "crops" / f"p{person}" / f"{number}.png"), pixels)
    write_tiny_model(tmp_path / "teacher.onnx")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_distil_resume_and_baseline(facekd, place: Path) -> None:
    ran = facekd("distill", place / "recipe.toml", "--run", place / "run", "--workers", 0, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["images"] == 48
    assert (place / "run" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "the teacher itself" in (place / "run" / "run.html").read_text()
    assert "12 crops: 12 of 4 identities" in ran.err
    assert "teacher labels 12 views" in ran.err
    assert "on cpu" in ran.err
    again = facekd("distill", place / "recipe.toml", "--run", place / "run", "--workers", 0)
    assert again.code == 2
    assert "--resume" in again.err
    on = facekd("distill", place / "recipe.toml", "--run", place / "run", "--workers", 0, "--resume")
    assert on.code == 0
    assert "labels" not in on.err.replace("identities", "")
    alone = facekd("distill", place / "recipe.toml", "--no-teacher", "--run", place / "alone", "--workers", 0)
    assert alone.code == 0, alone.err
    assert "images seen    48" in alone.out
    other = facekd(
        "train", place / "alone" / "recipe.toml", "--run", place / "t", "--workers", 0, "--seed", 5
    )
    assert other.code == 0, other.err
    assert "seed = 5" in (place / "t" / "recipe.toml").read_text()


def test_wrong_calls_say_what_is_wrong(facekd, place: Path) -> None:
    assert facekd("distill", place / "none.toml").code == 2
    recipe = place / "recipe.toml"
    teacher = facekd("train", recipe, "--run", place / "r")
    assert teacher.code == 2
    assert "facekd distill" in teacher.err
    recipe.write_text(RECIPE.replace("images = 48", 'images = "many"').replace("views = 1", "veiws = 1"))
    bad = facekd("distill", recipe, "--run", place / "r")
    assert bad.code == 2
    assert "schedule.images" in bad.err
    assert "teacher.veiws: no such setting" in bad.err
    recipe.write_text(RECIPE.replace('"crops"', '"krops"'))
    gone = facekd("distill", recipe, "--run", place / "r")
    assert gone.code == 5
    assert "krops" in gone.err
    recipe.write_text(RECIPE)
    (place / "teacher.onnx").write_bytes(b"no model")
    broken = facekd("distill", recipe, "--run", place / "r")
    assert broken.code == 5
    assert "not a usable ONNX model" in broken.err
    both = facekd("distill", recipe, "--teacher", "x.onnx", "--no-teacher")
    assert both.code == 2


def test_no_cuda_is_said_before_anything_is_trained(facekd, place: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    ran = facekd("distill", place / "recipe.toml", "--no-teacher", "--run", place / "r", "--device", "cuda")
    assert ran.code == 2
    assert "no CUDA device" in ran.err
