"""Each fault of a recipe is reported once, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from facekd.distillation import check_recipe
from facekd.errors import RecipeError


def document(**tables: Any) -> dict[str, Any]:
    plain = {
        "data": {"labelled": ["crops"]},
        "student": {"settings": {"dim": 16, "widths": [8, 8, 16, 16], "depths": [0, 0, 0, 0]}},
        "teacher": {"models": ["teacher.onnx"]},
        "loss": [{"name": "cosine"}],
        "schedule": {"images": 1280},
    }
    return plain | tables


def faults(**tables: Any) -> list[str]:
    with pytest.raises(RecipeError) as error:
        check_recipe(document(**tables), "mine")
    found = [line.strip() for line in error.value.cause.splitlines()[1:]]
    return [line for line in found if not line.endswith("does not exist")]


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"augmentation": {"shift": "2"}}, 'augmentation.shift: should be a number, not "2"'),
        ({"schedule": {"images": "1280"}}, 'schedule.images: should be a whole number, not "1280"'),
        ({"schedule": {"images": 1280.0}}, "schedule.images: should be a whole number, not 1280.0"),
        ({"seed": True}, "seed: should be a whole number, not true"),
        ({"mirror": "yes"}, 'mirror: should be true or false, not "yes"'),
        (
            {"data": {"labelled": "a.zip"}},
            'data.labelled: should be a list of paths, for example ["a.zip"], not "a.zip"',
        ),
        (
            {"teacher": {"models": "t.onnx"}},
            'teacher.models: should be a list of models, for example ["teacher.onnx"], not "t.onnx"',
        ),
        ({"schedule": {}}, "schedule.images: is missing"),
        (
            {"schedule": {"images": 1280, "shape": "cosin"}},
            "schedule.shape: should be 'cosine', 'linear', 'quadratic' or 'wsd', not \"cosin\"",
        ),
        ({"loss": []}, "loss: name at least one"),
        ({"loss": [{"name": "cosine", "begin": 2}]}, "loss 1.begin: should be less than 1, not 2"),
        ({"loss": [{"name": "cosine"}, {"weight": 1.0}]}, "loss 2.name: is missing"),
        ({"loss": ["cosine"]}, 'loss 1: should be a table, not "cosine"'),
        # where a key belongs
        ({"student": {"dim": 16}}, "student.dim: no such setting; it belongs in student.settings.dim"),
        (
            {"loss": [{"name": "cosine", "match": "pca"}]},
            "loss 1.match: no such setting; it belongs in loss 1.settings.match",
        ),
        (
            {"schedule": {"images": 1280, "shift": 2}},
            "schedule.shift: no such setting; it belongs in augmentation.shift",
        ),
        ({"images": 1280}, "images: no such setting; it belongs in schedule.images"),
        (
            {"schedule": {"images": 1280, "seed": 3}},
            "schedule.seed: no such setting; it belongs at the top of the recipe, before the first [table]",
        ),
        (
            {"data": {"labelled": ["crops"], "heldut": "x"}},
            "data.heldut: no such setting; did you mean data.heldout?",
        ),
        ({"data": {"labelled": ["crops"], "zebra": 1}}, "data.zebra: no such setting"),
    ],
)  # fmt: skip
def test_one_wrong_value_is_one_fault(tables: dict[str, Any], told: str) -> None:
    assert faults(**tables) == [told]


def test_a_wrong_value_hides_no_other_fault() -> None:
    found = faults(loss=[{"name": "hinton", "weight": -1}], schedule={"images": 5, "batch": "8"})
    assert found[:2] == [
        "loss 1.weight: should be greater than or equal to 0, not -1",
        'schedule.batch: should be a whole number, not "8"',
    ]
    assert found[2] == "schedule: 5 images in batches of 128 make no step"
    assert found[3].startswith("no loss is named 'hinton'")
    assert len(found) == 4


def test_whole_numbers_serve_for_others_and_lists_for_tuples() -> None:
    recipe = check_recipe(document(schedule={"images": 1280, "rate": 1}, augmentation={"shift": 2}), "mine")
    assert (recipe.schedule.rate, recipe.augmentation.shift) == (1.0, 2.0)
    assert check_recipe(recipe.model_dump(), "mine") == recipe
