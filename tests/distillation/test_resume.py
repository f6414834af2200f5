"""A run is resumed only with the inputs that it was begun with: any change is refused, and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from small_run import TEACHER, losses_of, recipe, run
from tiny_model import write_tiny_model

from facekd.card import InputSpec, read_card, write_card
from facekd.distillation import Recipe, read_recipe
from facekd.errors import UsageError
from facekd.training import RunFolder


@pytest.fixture
def begun(place: Path) -> Recipe:
    """The recipe of a run that was cut after four steps; its copy is as good."""
    chosen = recipe(place)
    run(place, "run", chosen, stop_after=4)
    return chosen


def refused(place: Path, chosen: Recipe, *words: str) -> None:
    metrics = (place / "run" / "metrics.jsonl").read_text()
    with pytest.raises(UsageError) as told:
        run(place, "run", chosen, resume=True)
    assert "was started with" in told.value.cause
    for part in words:
        assert part in told.value.cause
    assert (place / "run" / "metrics.jsonl").read_text() == metrics


def test_another_teacher_under_the_old_name(place: Path, begun: Recipe) -> None:
    space = RunFolder(place / "run").state()["contract"]["teachers"][0]["space"]
    write_tiny_model(place / "teacher.onnx", dim=32, seed=9)
    refused(place, begun, f"the teacher (teacher of space {space[:12]}, now teacher of space ")
    write_tiny_model(place / "teacher.onnx", dim=16)
    refused(place, begun, "the teacher (")
    write_tiny_model(place / "teacher.onnx", dim=32)
    run(place, "run", begun, resume=True)


def test_a_teacher_of_which_only_the_card_changed(place: Path, begun: Recipe) -> None:
    card = read_card(place / "teacher.onnx")[0]
    turned = card.model_copy(update={"input": InputSpec(colour="bgr")})
    write_card(onnx.load(place / "teacher.onnx"), turned, place / "teacher.onnx")
    refused(place, begun, "the teacher (")


def test_other_crops_under_the_old_names(place: Path, begun: Recipe) -> None:
    file = place / "crops" / "p1" / "2.png"
    cv2.imwrite(str(file), 255 - cv2.imread(str(file)))
    refused(place, begun, "the training crops (")
    file.unlink()
    refused(place, begun, "the training crops (")


def test_the_same_crops_as_other_peoples(place: Path) -> None:
    (place / "same.csv").write_text("label,merge_into\np1,p2\n")
    chosen = recipe(place, m=("[student]", 'merge = "same.csv"\n[student]'))
    run(place, "run", chosen, stop_after=4)
    (place / "same.csv").write_text("label,merge_into\np1,p3\n")
    refused(place, chosen, "the labels of the crops")


def test_the_recipe_in_the_folder_is_not_what_counts(place: Path, begun: Recipe) -> None:
    file = place / "run" / "recipe.toml"
    text = file.read_text()
    file.write_text(text.replace("shift = 2.0", "shift = 4.0"))
    assert file.read_text() != text
    refused(place, read_recipe(file), "another recipe: augmentation.shift 2.0 -> 4.0")
    run(place, "run", begun, resume=True)
    assert file.read_text() == text


def test_a_run_of_version_0_1_0_is_known_by_its_card(place: Path, begun: Recipe) -> None:
    whole = run(place, "whole", begun)
    file = place / "run" / "checkpoints" / "last" / "state.json"
    state = json.loads(file.read_text())
    del state["contract"]
    file.write_text(json.dumps(state))
    write_tiny_model(place / "teacher.onnx", dim=32, seed=9)
    refused(place, begun, "the teacher (")
    write_tiny_model(place / "teacher.onnx", dim=32)
    assert losses_of(run(place, "run", begun, resume=True)) == losses_of(whole)


def test_several_teachers_are_told_apart_in_their_order(place: Path) -> None:
    write_tiny_model(place / "other.onnx", dim=16, seed=5)
    both = TEACHER.replace('["teacher.onnx"]', '["teacher.onnx", "other.onnx"]')
    chosen = recipe(place, both)
    run(place, "run", chosen, stop_after=4)
    run(place, "run", chosen, resume=True, stop_after=1)
    stated = RunFolder(place / "run").state()["contract"]["teachers"]
    assert [one["name"] for one in stated] == ["teacher", "other"]
    shutil.move(place / "other.onnx", place / "third.onnx")
    shutil.move(place / "teacher.onnx", place / "other.onnx")
    shutil.move(place / "third.onnx", place / "teacher.onnx")
    refused(place, chosen, "the teacher (")


def test_a_look_does_not_ask_the_new_teacher_for_labels_first(
    place: Path, begun: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(place / "teacher.onnx", dim=32, seed=9)

    def fail(*_: object) -> np.ndarray:
        pytest.fail("was asked")

    monkeypatch.setattr("facekd.models.teachers.onnx.OnnxTeacher.targets", fail)
    refused(place, begun, "the teacher (")
