"""A recipe, crops and a teacher so small that a run takes a second."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from tiny_model import write_tiny_model

from facekd.distillation import SILENT, Recipe, read_recipe, run_recipe
from facekd.training import RunFolder

RECIPE = """
seed = 3
[data]
labelled = ["crops"]
heldout = "heldout.txt"
[student]
name = "plainres"
settings = {{ dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }}
{teacher}
[augmentation]
shift = 2.0
colour = 0.2
{losses}
[schedule]
images = 96
batch = 8
evaluations = 3
precision = "float32"
"""


TEACHER = '[teacher]\nmodels = ["teacher.onnx"]\n'


TWO = '[[loss]]\nname = "cosine"\n[[loss]]\nname = "logit"\nweight = 0.1\n'


def make_place(tmp_path: Path) -> Path:
    """Crops of eight "people" (a random picture each, changed a little) and a tiny teacher."""
    rng = np.random.default_rng(0)
    for person in range(8):
        base = cv2.resize(rng.integers(0, 256, (7, 7, 3), np.uint8), (112, 112))
        (tmp_path / "crops" / f"p{person}").mkdir(parents=True)
        for number in range(4):
            noise = rng.integers(-20, 20, base.shape)
            crop = (base.astype(int) + noise).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "crops" / f"p{person}" / f"{number}.png"), crop)
    (tmp_path / "heldout.txt").write_text("p4\np5\np6\np7\n")
    write_tiny_model(tmp_path / "teacher.onnx", dim=32)
    return tmp_path


def recipe(place: Path, teacher: str = TEACHER, losses: str = TWO, **changes: tuple[str, str]) -> Recipe:
    text = RECIPE.format(teacher=teacher, losses=losses)
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    file = place / "recipe.toml"
    file.write_text(text)
    return read_recipe(file)


def run(place: Path, name: str, chosen: Recipe, **settings: object) -> list[dict]:
    torch.set_num_threads(1)
    run_recipe(chosen, place / name, SILENT, cache=place / "cache", workers=0, **settings)
    return RunFolder(place / name).metrics()


def losses_of(records: list[dict]) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in records if "loss" in r]
