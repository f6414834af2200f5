"""What is wrong with a recipe, or missing, is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import recipe, run

from facekd.distillation import read_recipe
from facekd.errors import DeviceError, InputOutput, RecipeError, UsageError


def test_all_faults_of_a_recipe_are_listed_at_once(place: Path) -> None:
    file = place / "bad.toml"
    file.write_text(
        '[data]\nlabeled = ["x"]\n[[loss]]\nname = "cosine"\nsettings = { mach = 1 }\n'
        '[[loss]]\nname = "hinton"\n[schedule]\nimages = 0\nrate = "fast"\n'
    )
    with pytest.raises(RecipeError) as error:
        read_recipe(file)
    for part in ("data.labeled: no such setting", "schedule.images", "schedule.rate"):
        assert part in error.value.cause
    file.write_text(
        '[data]\n[[loss]]\nname = "cosine"\nsettings = { mach = 1 }\n'
        '[[loss]]\nname = "hinton"\n[schedule]\nimages = 9\n'
    )
    with pytest.raises(RecipeError) as error:
        read_recipe(file)
    for part in (
        "name at least one folder",
        "no setting 'mach'",
        "no loss is named 'hinton'",
        "needs a [teacher]",
    ):
        assert part in error.value.cause
    file.write_text("not = [toml")
    with pytest.raises(RecipeError, match="not TOML"):
        read_recipe(file)
    with pytest.raises(InputOutput, match="No such file"):
        read_recipe(place / "none.toml")


def test_missing_data_and_devices_are_named(place: Path) -> None:
    chosen = recipe(place, gone=("crops", "nowhere"))
    with pytest.raises(InputOutput, match="nowhere"):
        run(place, "run", chosen)
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="cuda"):
            run(place, "run2", recipe(place), device="cuda")
    with pytest.raises(DeviceError, match="gpu"):
        run(place, "run2", recipe(place), device="gpu")
    (place / "heldout.txt").write_text("p6\np7\n")
    with pytest.raises(RecipeError, match="at least two identities"):
        run(place, "run4", recipe(place))
    (place / "heldout.txt").write_text("p4\np5\np6\np7\n")
    with pytest.raises(UsageError, match="make no step"):
        recipe(place, few=("images = 96", "images = 5"))
    # none of them left a folder that would stand in the way of the next try
    assert not [p.name for p in place.glob("run*")]
