"""`facekd recipe`: the recipes that come along, and a check of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from tiny_model import write_tiny_model

from facekd.cli.main import main
from facekd.distillation import read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "facekd" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_shipped_recipe_reads_and_says_what_it_is(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_recipe(file).schedule.steps > 0
    assert main(["recipe", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[file.stem]) > 20
    assert main(["recipe", "show", file.stem]) == 0
    assert capsys.readouterr().out == file.read_text()


def test_a_copy_is_checked_against_the_files_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.toml"
    assert main(["recipe", "copy", "student", str(mine)]) == 0
    assert main(["recipe", "copy", "student", str(mine)]) == 2
    capsys.readouterr()
    assert main(["recipe", "check", str(mine)]) == 5
    missing = capsys.readouterr().err
    assert "train-labelled-1.zip" in missing
    assert "edgeface_xs.onnx" in missing
    small = '[data]\nlabelled = ["a"]\n[[loss]]\nname = "arcface"\n[schedule]\nimages = 6400\nbatch = 64\n'
    (tmp_path / "a").mkdir()
    mine.write_text(small)
    assert main(["recipe", "check", str(mine)]) == 0
    assert "6,400 images in 100 steps of 64" in capsys.readouterr().out
    mine.write_text(small.replace("arcface", "arcfaec").replace("batch", "bacth"))
    assert main(["recipe", "check", str(mine)]) == 2
    faults = capsys.readouterr().err
    assert "arcfaec" in faults
    assert "bacth" in faults


def test_a_teacher_without_a_card_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny_model(tmp_path / "teacher.onnx")
    (tmp_path / "a").mkdir()
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[data]\nlabelled = ["a"]\n[teacher]\nmodels = ["teacher.onnx"]\n'
        '[[loss]]\nname = "cosine"\n[schedule]\nimages = 6400\n'
    )
    assert main(["recipe", "check", str(mine)]) == 0
    assert "no card" not in capsys.readouterr().err
    model = onnx.load(tmp_path / "teacher.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "teacher.onnx")
    assert main(["recipe", "check", str(mine)]) == 0
    assert "teacher.onnx has no card: it is read by insightface's convention" in capsys.readouterr().err


def test_a_name_that_is_nearly_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "show", "studnet"]) == 2
    assert "Did you mean 'student'?" in capsys.readouterr().err
