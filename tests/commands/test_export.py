"""``facekd export`` from the shell."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.torch import save_file

from facekd.models import build_model

Facekd = Callable[..., Any]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of a tiny student on ten people who are noise, none of them held out."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as pack:
        for number in range(70):
            crop = cv2.resize(rng.integers(0, 256, (7, 7, 3), np.uint8), (112, 112))
            pack.writestr(f"p{number % 10}/{number}.png", cv2.imencode(".png", crop)[1].tobytes())
    run = tmp_path / "runs" / "noise"
    place = run / "checkpoints" / "last"
    place.mkdir(parents=True)
    save_file(build_model("plainres_small", dim=16).state_dict(), place / "model.safetensors")
    (run / "recipe.toml").write_text(
        '[data]\nlabelled = ["../../pack.zip"]\n'
        '[student]\nname = "plainres_small"\nsettings = { dim = 16 }\n'
        '[[loss]]\nname = "arcface"\n[schedule]\nimages = 64\nbatch = 64\n'
    )
    return run


def test_a_run_is_exported_and_the_file_can_be_read(facekd: Facekd, run_folder: Path) -> None:
    ran = facekd("export", run_folder, "--json")
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    assert answer["path"] == str(run_folder / "student.onnx")
    assert "no threshold in the card: no labelled people were held out" in ran.err
    shown = facekd("card", run_folder / "student.onnx", "--json")
    assert json.loads(shown.out) == {"schema": "card/1", **answer["card"]}


def test_a_teacher_without_crops_to_measure_on_is_a_usage_error(facekd: Facekd, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(build_model("plainres_small", dim=16).state_dict(), weights)
    lonely = facekd("export", weights)
    assert lonely.code == 5
    assert "no recipe.toml above it" in lonely.err
    unknown = facekd("export", "timm:edgenext_x_smal:" + str(weights))
    assert unknown.code == 2
    assert "edgenext_x_small" in unknown.err


def test_what_is_not_there_is_an_input_failure(facekd: Facekd, tmp_path: Path) -> None:
    assert facekd("export", tmp_path / "none").code == 5
    assert facekd("export", tmp_path).code == 5


def test_a_model_that_is_onnx_already_is_not_exported(facekd: Facekd, tiny: Path) -> None:
    ran = facekd("export", tiny)
    assert ran.code == 2
    assert "already" in ran.err
