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
    assert list(cosine) == [
        "float32",
        "weights to the nearest step", "weights by inputs", "int8",
        "weights to the nearest step, for any processor", "weights by inputs, for any processor",
        "int8, for any processor",
    ]  # fmt: skip
    assert cosine["float32"] == 1
    for where in ("", ", for any processor"):
        by_inputs, nearest = (
            cosine[f"weights by inputs{where}"],
            cosine[f"weights to the nearest step{where}"],
        )
        assert 1 > by_inputs > nearest
        assert by_inputs > cosine[f"int8{where}"] > 0.98
