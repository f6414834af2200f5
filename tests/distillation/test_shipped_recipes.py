"""The recipes that come along: each trains, on tiny networks and crops, by its own losses."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_run import losses_of, make_place, recipe, run
from tiny_model import write_tiny_model

from facekd.distillation import SILENT, read_recipe, run_recipe
from facekd.distillation.recipe_reading import check_recipe
from facekd.training import RunFolder

FOLDER = Path(__file__).parents[2] / "facekd" / "recipes"
NAMES = sorted(file.stem for file in FOLDER.glob("*.toml"))
TINY = {"name": "plainres", "settings": {"dim": 16, "widths": [8, 8, 16, 16], "depths": [0, 0, 0, 0]}}


def shrunk(name: str, place: Path) -> dict[str, Any]:
    """The recipe with tiny networks and data, and eighty images instead of a million."""
    raw = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    raw["data"] = {"labelled": [str(place / "crops")], "heldout": str(place / "heldout.txt")}
    raw["student"] = TINY
    raw["schedule"] |= {"images": 80, "batch": 8, "evaluations": 1, "precision": "float32"}
    teacher = raw.get("teacher", {})
    if "network" in teacher:
        teacher |= {"network": TINY["name"], "settings": TINY["settings"]}
    else:
        teacher["models"] = [_stand_in(spec, number, place) for number, spec in enumerate(teacher["models"])]
    if "sampling" in raw:
        raw["sampling"] = {"people": 4, "crops": 2}
    return raw


def _stand_in(spec: str, number: int, place: Path) -> str:
    """An ONNX model for an ONNX model, a network of ours for one that runs in torch."""
    if spec.endswith(".onnx"):
        return str(write_tiny_model(place / f"teacher{number}.onnx", seed=number, dim=16 + 8 * number))
    alone = recipe(place, teacher="", losses='[[loss]]\nname = "arcface"\n', n=("images = 96", "images = 16"))
    run(place, "maps", alone)
    return str(place / "maps")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_runs_ten_steps(name: str, tmp_path: Path) -> None:
    place = make_place(tmp_path)
    chosen = check_recipe(shrunk(name, place), name)
    torch.set_num_threads(1)
    run_recipe(chosen, place / "run", SILENT, cache=place / "cache", workers=0)
    records = RunFolder(place / "run").metrics()
    steps = [step for step, _ in losses_of(records)]
    assert (steps[0], steps[-1]) == (1, 10)
    assert np.isfinite([loss for _, loss in losses_of(records)]).all()
    terms = {key.split(" ")[0] for r in records if "loss" in r for key in r}
    shown = {table.name for table in chosen.loss} - {"rkd"}  # its two parts have names of their own
    assert shown <= terms | {"rkd"}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_names_files_beside_itself(name: str) -> None:
    read = read_recipe(FOLDER / f"{name}.toml")
    assert all(path.parent == FOLDER for path in (*read.data.labelled, *read.data.unlabelled))
