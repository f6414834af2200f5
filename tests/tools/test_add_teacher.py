"""The tool that adds the projector rows of a further teacher: its regression, and a leg that begins there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from small_run import make_place, recipe, run
from tiny_model import write_tiny_model

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import add_teacher as tool
import keep_weights

COSINE = '[[loss]]\nname = "cosine"\n'
PROJECTOR = "losses.0.match.projector.weight"


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_regression_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(0)
    student = unit(random.normal(size=(300, 8)))
    teacher = unit(student @ random.normal(size=(8, 5)) + 0.3 * random.normal(size=(300, 5)))
    found = tool.ridge(student, teacher)
    apart = np.arange(300) % 5 == 4
    scores = {}
    for strength in tool.STRENGTHS:
        fit = Ridge(alpha=strength, fit_intercept=False).fit(student[~apart], teacher[~apart])
        scores[strength] = ((unit(fit.predict(student[apart])) * teacher[apart]).sum(1).mean(), fit.coef_)
    best = max(scores.values(), key=lambda pair: pair[0])
    assert found.cosine == pytest.approx(best[0])
    np.testing.assert_allclose(found.rows, best[1], atol=1e-8)


def test_a_further_teacher_keeps_the_share_of_the_first() -> None:
    """Rows that are three times as long as the regression has them: so are those of the others."""
    random = np.random.default_rng(1)
    student = unit(random.normal(size=(400, 6)))
    first, other = (unit(student @ random.normal(size=(6, 4))) for _ in range(2))
    known = 3 * tool.ridge(student, first).rows
    (fit,) = tool.further_rows(student, known, first, [other])
    np.testing.assert_allclose(fit.rows, 3 * tool.ridge(student, other).rows)


def test_a_leg_goes_on_with_a_further_teacher(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    run(place, "leg", recipe(place, losses=COSINE, n=("images = 96", "images = 240")))
    write_tiny_model(place / "other.onnx", dim=24, seed=5)
    both = '[teacher]\nmodels = ["teacher.onnx", "other.onnx"]\n'
    whole = (
        "depths = [0, 0, 0, 0] }",
        'depths = [0, 0, 0, 0] }\nstart = "both.safetensors"\nstart_by = "whole"',
    )
    chosen = recipe(place, both, COSINE, s=whole)
    call = CliRunner()
    for words in (
        ["pack", place / "leg", place / "kept"],
        ["unpack", place / "kept", place / "one.safetensors"],
    ):
        assert call.invoke(keep_weights.main, [str(word) for word in words]).exit_code == 0
    before = load_file(place / "one.safetensors")
    done = call.invoke(
        tool.main, [str(place / name) for name in ("recipe.toml", "one.safetensors", "both.safetensors")]
    )
    assert done.exit_code == 0, done.output
    after = load_file(place / "both.safetensors")
    assert before.keys() == after.keys()
    assert after[PROJECTOR].shape == (32 + 24, 16)
    np.testing.assert_array_equal(after[PROJECTOR][:32], before[PROJECTOR])
    assert all((after[name] == value).all() for name, value in before.items() if name != PROJECTOR)
    records = run(place, "next", chosen)
    assert "1 of 1 tensors of the losses continue" in (place / "next" / "train.log").read_text()
    # the first step is nearer to the teachers than with rows at random
    del after[PROJECTOR]
    save_file(after, place / "both.safetensors")
    fresh = run(place, "fresh", chosen)
    begun, at_random = (next(r["cosine"] for r in found if "loss" in r) for found in (records, fresh))
    assert begun < at_random - 0.1


@pytest.mark.parametrize(
    ("models", "told"),
    [('["teacher.onnx"]', "projects to 32 values, the recipe's teachers have 32"),
     ('["other.onnx", "teacher.onnx"]', "projects to 32 values, the recipe's teachers have 24, 32")],
)  # fmt: skip
def test_teachers_that_do_not_continue_those_of_the_leg(tmp_path: Path, models: str, told: str) -> None:
    place = make_place(tmp_path)
    write_tiny_model(place / "other.onnx", dim=24, seed=5)
    run(place, "leg", recipe(place, losses=COSINE))
    recipe(place, f"[teacher]\nmodels = {models}\n", COSINE)
    start = place / "start.safetensors"
    call = CliRunner()
    call.invoke(keep_weights.main, ["pack", str(place / "leg"), str(place / "kept")])
    call.invoke(keep_weights.main, ["unpack", str(place / "kept"), str(start)])
    done = call.invoke(tool.main, [str(place / "recipe.toml"), str(start), str(place / "out")])
    assert told in str(done.exception)
    assert not (place / "out").exists()
