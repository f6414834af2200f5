"""A run folder that version 0.1.0 left still opens, and its run can go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from small_run import make_place

from facekd.distillation import SILENT, missing_files, read_recipe, run_recipe
from facekd.errors import InputOutput, UsageError
from facekd.models import build_model
from facekd.training import RunFolder, load_weights

STORED = Path(__file__).parents[1] / "stored" / "0.1.0" / "run"


def test_its_weights_metrics_and_checkpoint_are_read() -> None:
    folder = RunFolder.open(STORED)
    weights = load_weights(STORED)
    student = build_model("plainres", dim=8, widths=[8, 8, 8, 8], depths=[0, 0, 0, 0])
    student.load_state_dict(weights)
    assert all(torch.equal(weights[name], value) for name, value in folder.load("last").model.items())
    assert folder.state("last")["step"] == 12
    metrics = folder.metrics()
    assert [r["loss"] for r in metrics if "loss" in r] == pytest.approx([8.2059, 0.9931], abs=1e-4)
    assert metrics[-1]["finished"] is True


def test_its_recipe_is_read_and_the_files_that_are_not_here_are_told_apart() -> None:
    recipe = read_recipe(STORED / "recipe.toml")
    assert (recipe.seed, recipe.schedule.images) == (3, 96)
    missing = {(one.place, one.path) for one in missing_files(recipe)}
    assert missing == {
        ("data.labelled", "/home/somebody/faces/crops"),
        ("data.heldout", "/home/somebody/faces/heldout.txt"),
        ("teacher.models", "/home/somebody/faces/teacher.onnx"),
    }
    with pytest.raises(InputOutput, match=r"heldout\.txt"):
        run_recipe(recipe, Path("nowhere"), SILENT, cache=Path("nowhere"))


def test_to_go_on_with_it_says_what_differs(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    shutil.copytree(STORED, place / "run", symlinks=True)
    text = (STORED / "recipe.toml").read_text().replace("/home/somebody/faces", str(place))
    (place / "recipe.toml").write_text(text.replace("rate = 0.002", "rate = 0.004"))
    with pytest.raises(UsageError, match="started with another recipe") as told:
        run_recipe(read_recipe(place / "recipe.toml"), place / "run", SILENT, cache=place, resume=True)
    for part in ("data.labelled", "/home/somebody/faces/heldout.txt", "schedule.rate 0.002 -> 0.004"):
        assert part in told.value.cause
