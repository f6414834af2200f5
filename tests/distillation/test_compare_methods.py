"""The methods that `tools/compare_methods.py` compares: each is a recipe, and states what it changes."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from small_run import TEACHER, recipe

from facekd.distillation import Recipe
from facekd.distillation.recipe_reading import check_recipe
from facekd.errors import Misfit, UsageError

ROOT = Path(__file__).parents[2]
NAMED = {
    "MAPS": "timm:net:file",
    "FIRST": "a.onnx",
    "SECOND": "b.onnx",
    "LARGER": "runs/larger",
    "ASSISTANT": "c.onnx",
    "STUDENT": "d.onnx",
    "STUDENT_RUN": "runs/cosine",
}
METHODS = [
    pytest.param(method, id=f"{file}: {method['name']}")
    for file in ("methods", "methods_short", "faces")
    for method in tomllib.loads((ROOT / "tools" / f"{file}.toml").read_text())["method"]
]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_methods", ROOT / "tools" / "compare_methods.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def base() -> Recipe:
    raw = tomllib.loads((ROOT / "facekd" / "recipes" / "student.toml").read_text())
    return check_recipe(raw, "student")


@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_base_but_for_what_it_states(
    tool: ModuleType, base: Recipe, method: dict[str, Any]
) -> None:
    made = tool.changed(base, method, 32000, 7, NAMED)
    assert (made.seed, made.schedule.images) == (7, 32000)
    if "loss" in method:
        assert [loss.name for loss in made.loss] == [loss["name"] for loss in method["loss"]]
    stated = {"seed", "loss", "schedule", *method.get("recipe", {})}
    stated |= {"augmentation"} if method.get("clean") else set()
    stated |= {"data", "teacher"} if not method.get("teacher", True) else set()
    before, after = base.model_dump(), made.model_dump()
    assert {table for table in after if after[table] != before[table]} <= stated
    for table, settings in method.get("recipe", {}).items():
        left = {key for key in after[table] if key not in settings}
        if method.get("teacher", True):
            assert {k: after[table][k] for k in left} == {k: before[table][k] for k in left} | (
                {"images": 32000} if table == "schedule" else {}
            )


def test_no_two_methods_share_a_run_folder(tool: ModuleType) -> None:
    for file in ("methods", "methods_short", "faces"):
        names = [m["name"] for m in tomllib.loads((ROOT / "tools" / f"{file}.toml").read_text())["method"]]
        assert len({re.sub("[^a-z0-9]+", "-", name.lower()) for name in names}) == len(names)


def test_what_a_method_cannot_say(tool: ModuleType, base: Recipe) -> None:
    with pytest.raises(UsageError, match="'x': no such setting: los"):
        tool.changed(base, {"name": "x", "los": []}, None, 0)
    with pytest.raises(UsageError, match="needs --set MAPS=VALUE"):
        tool.changed(base, {"name": "x", "recipe": {"teacher": {"models": ["$MAPS"]}}}, None, 0)


def test_methods_side_by_side_on_the_held_out_people(tool: ModuleType, place: Path) -> None:
    """Without a test the table is of the people that choose; what they are too few for is said."""
    recipe(place)
    for crop in [*(place / "crops").glob("p[0-3]/*.png")]:  # an export is checked on 64 crops
        for number in range(1, 5):
            shutil.copy(crop, crop.with_name(f"{crop.stem}-{number}.png"))
    methods = place / "methods.toml"
    methods.write_text(
        '[[method]]\nname = "cosine"\nloss = [{ name = "cosine" }]\n'
        '[[method]]\nname = "mse"\nloss = [{ name = "mse" }]\n'
    )
    given = [str(place / "recipe.toml"), "--out", str(place / "runs"), "--methods", str(methods)]
    done = CliRunner().invoke(tool.main, [*given, "--images", "16", "--seeds", "0"], catch_exceptions=False)
    lines = (place / "runs" / "table.md").read_text().splitlines()
    assert done.output.splitlines()[-len(lines) :] == lines
    assert lines[0] == "| method | held-out TAR at FMR 1e-3 | against the first |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| cosine", "| mse"]
    rows = json.loads((place / "runs" / "table.json").read_text())
    assert [row["heldout"][0]["mated"] for row in rows] == [12, 12]  # two people of four crops
    assert all("insufficient data: 0.016 false matches expected" in line for line in lines[2:])
    alone = CliRunner().invoke(tool.main, [*given, "--data", str(place / "crops")])
    assert isinstance(alone.exception, UsageError)
    assert "must be given together" in str(alone.exception)


def test_only_what_is_trained_on_is_compared_with_the_test(
    tool: ModuleType, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The held-out people are the test here, so the packs hold all of it; the crops trained on do not."""
    shutil.copytree(place / "crops", place / "test", ignore=shutil.ignore_patterns("p[0-3]"))
    kept = place / "overlap.json"
    tool.checked_apart(recipe(place), place / "test", kept)
    told = capsys.readouterr().err
    assert "16 crops trained on against 16 photos of the test: " in told
    written = kept.stat().st_mtime_ns
    tool.checked_apart(recipe(place), place / "test", kept)
    assert kept.stat().st_mtime_ns == written
    assert capsys.readouterr().err.splitlines() == told.splitlines()[-1:]  # nothing is labelled again
    # other crops of the same packs are another question
    with pytest.raises(Misfit, match="training crop"):
        tool.checked_apart(recipe(place, h=('heldout = "heldout.txt"', "")), place / "test", kept)
    with pytest.raises(UsageError, match="is not an ONNX file"):
        tool.checked_apart(recipe(place, teacher=TEACHER.replace(".onnx", ".pt")), place / "test", kept)


def test_a_machine_that_slows_down_does_not_change_the_shares(
    tool: ModuleType, base: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {name: base.model_copy(update={"seed": seed}) for seed, name in enumerate(("first", "half"))}
    speeds, asked = iter([7.0, 100.0, 50.0, 10.0, 5.0, 60.0, 30.0]), []

    def rate_of(recipe: Recipe, steps: int) -> float:
        asked.append((recipe.seed, steps))
        return next(speeds)

    monkeypatch.setattr(tool, "rate_of", rate_of)
    found = tool.rates_of(made, 60, 3)
    assert asked == [(0, 60)] + 3 * [(0, 60), (1, 60)]
    assert {name: str(rate) for name, rate in found.items()} == {"first": "60 (1.00)", "half": "30 (0.50)"}


def test_methods_are_timed_without_being_trained(tool: ModuleType, place: Path) -> None:
    recipe(place)
    methods = place / "methods.toml"
    methods.write_text('[[method]]\nname = "cosine"\nloss = [{ name = "cosine" }]\n')
    given = [str(place / "recipe.toml"), "--out", str(place / "runs"), "--methods", str(methods)]
    given += ["--seeds", "0", "--rates-only"]
    alone = CliRunner().invoke(tool.main, given)
    assert "--rates-only needs --rate-steps" in str(alone.exception)
    done = CliRunner().invoke(tool.main, [*given, "--rate-steps", "40"], catch_exceptions=False)
    assert re.search(r"^\| cosine \| \d+ \(1\.00\) \|$", done.output, re.MULTILINE)
    assert [path.name for path in (place / "runs").iterdir()] == ["rates.json"]
    rate = json.loads((place / "runs" / "rates.json").read_text())["cosine"]
    assert rate["images"] > 0
    assert rate["share"] == 1
