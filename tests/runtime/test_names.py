"""Models that share a name stay as many as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.runtime import unique_names
from facekd.verification.protocols import open_protocol
from facekd.workflows import evaluate_models


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", "a", "b", "a"], ["a", "a (2)", "b", "a (3)"]),
        (["a (2)", "a", "a"], ["a (2)", "a", "a (3)"]),
        (["a", "a", "a (1)"], ["a", "a (2)", "a (1)"]),
        (["a", "a", "a (2)"], ["a", "a (2)", "a (2) (2)"]),
        (["\x1b[31mred\n", ""], ["\ufffd[31mred\ufffd", "unnamed"]),
        ([], []),
    ],
)
def test_names_are_told_apart_and_hold_no_control_characters(names: list[str], told: list[str]) -> None:
    assert unique_names(names) == told


def test_an_evaluation_loses_no_model_to_its_name(tmp_path: Path) -> None:
    """A name that looks numbered already, beside two that have to be numbered."""
    models = []
    for place, name in enumerate(["a", "a", "a (1)", "a (2)"]):
        (tmp_path / str(place)).mkdir()
        models.append(write_tiny_model(tmp_path / str(place) / f"{name}.onnx", seed=place))
    people = write_people(tmp_path / "people", people=6, photos=3)
    found = evaluate_models(models, open_protocol("people", people), people, detector=None)
    assert len(found.results()) == 4
    assert [found.results()[model.name] for model in found.models] == [model.result for model in found.models]
