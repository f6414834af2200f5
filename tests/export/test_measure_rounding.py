"""The tool that compares ways of rounding weights."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from facekd.export import export

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import measure_rounding as tool


def test_rows_of_every_way(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ten people of the run are held out: the crops of the same photo count as training crops."""
    recipe, pack = run_folder / "recipe.toml", run_folder.parent.parent / "pack.zip"
    recipe.write_text(recipe.read_text().replace("[student]", f'unlabelled = ["{pack}"]\n[student]'))
    monkeypatch.setattr(tool, "_FMRS", (1e-1, 1e-2))
    whole = export(run_folder, run_folder / "whole.onnx", [pack])
    told = (
        CliRunner().invoke(tool.main, [str(whole.path), "--data", str(recipe)], catch_exceptions=False).output
    )
    rows = dict(re.findall(r"^\| ([^|]+) \| (\d\.\d{4}) \| \d", told, re.MULTILINE))
    cosine = {how: float(value) for how, value in rows.items()}
    ways = (
        "weights alone, to the nearest step",
        "int8, to the nearest step",
        "weights alone, by inputs",
        "int8, by inputs",
    )
    limited = [f"{way}, for any processor" for way in ways]
    assert list(cosine) == ["float32", *ways, *limited]
    assert cosine["float32"] == 1
    for nearest, int8_nearest, by_inputs, int8_by_inputs in (ways, limited):
        assert 1 > cosine[by_inputs] > cosine[nearest]
        assert cosine[int8_by_inputs] > cosine[int8_nearest] > 0.98
        assert cosine[by_inputs] > cosine[int8_by_inputs]
