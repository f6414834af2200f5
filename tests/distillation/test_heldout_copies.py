"""Copies of held-out crops that are trained on under another name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from small_run import TEACHER, recipe, run

from facekd.cli.main import main
from facekd.distillation import heldout_copies, training_crops
from facekd.models.teachers import load_teacher


def plant(place: Path) -> dict[str, str]:
    """Copies of held-out crops among those of p0: encoded again, mirrored and brighter."""
    theirs = place / "crops" / "p4" / "1.png", place / "crops" / "p5" / "2.png"
    first, second = (cv2.imread(str(file)) for file in theirs)
    cv2.imwrite(str(place / "crops" / "p0" / "again.jpg"), first, [cv2.IMWRITE_JPEG_QUALITY, 60])
    brighter = np.clip(second[:, ::-1] * 1.1 + 5, 0, 255).astype(np.uint8)
    cv2.imwrite(str(place / "crops" / "p0" / "mirrored.png"), brighter)
    return {"crops/p0/again.jpg": "crops/p4/", "crops/p0/mirrored.png": "crops/p5/"}


@pytest.mark.parametrize("asked", [False, True])
def test_they_are_found_with_and_without_a_teacher(place: Path, asked: bool) -> None:
    chosen = recipe(place, teacher=TEACHER)
    teacher = load_teacher(list(chosen.teacher.models)) if asked else None
    assert heldout_copies(chosen, training_crops(chosen), teacher, place / "cache") == ()
    planted = plant(place)
    crops = training_crops(chosen)
    for _ in range(2):  # the second time from what was kept
        found = heldout_copies(chosen, crops, teacher, place / "cache")
        assert {copy.crop for copy in found} == set(planted)
        # all four crops of a person here are alike, so that any of them may be the likest
        assert all(copy.heldout.startswith(planted[copy.crop]) for copy in found)
    again = next(copy for copy in found if copy.crop.endswith("again.jpg"))
    pictures = [
        cv2.resize(
            cv2.imread(str(place / name), cv2.IMREAD_GRAYSCALE), (16, 16), interpolation=cv2.INTER_AREA
        )
        for name in (again.crop, again.heldout)
    ]
    correlation = np.corrcoef(pictures[0].ravel(), pictures[1].ravel())[0, 1]
    assert again.likeness == pytest.approx(correlation, abs=2e-3)


def test_the_teacher_decides_where_crops_look_alike(place: Path) -> None:
    plant(place)
    chosen = recipe(place, teacher=TEACHER)
    rng = np.random.default_rng(0)

    def strangers(views: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(embedding=torch.from_numpy(rng.normal(size=(len(views), 64))))

    stub = SimpleNamespace(targets=strangers)
    assert heldout_copies(chosen, training_crops(chosen), stub, place / "cache") == ()


def test_a_run_says_how_many_and_the_check_lists_them(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEKD_CACHE", str(place / "cache"))
    planted = plant(place)
    run(place, "run", recipe(place), stop_after=1)
    said = (place / "run" / "train.log").read_text()
    assert "note: 2 crops are copies of held-out crops under other names" in said
    assert main(["recipe", "check", str(place / "recipe.toml"), "--data", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {copy["crop"] for copy in told["heldout_copies"]} == set(planted)
    (place / "copies.txt").write_text("\n".join(planted))
    excluded = recipe(
        place, leave=('heldout = "heldout.txt"', 'heldout = "heldout.txt"\nexclude = ["copies.txt"]')
    )
    assert heldout_copies(excluded, training_crops(excluded), None, place / "cache") == ()
    assert main(["recipe", "check", str(place / "recipe.toml"), "--data"]) == 0
    assert "0 of them are copies of held-out crops\n" in capsys.readouterr().out
