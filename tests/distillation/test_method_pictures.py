"""The pictures of docs/methods.md, from what a comparison leaves."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from facekd.errors import UsageError

TOOLS = Path(__file__).parents[2] / "tools"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def point(tar: float | None) -> dict[str, Any]:
    ends = None if tar is None else {"low": tar - 0.1, "high": tar + 0.2}
    return {"fmr": 1e-3, "tar": tar, "interval": ends}


def row(method: str, *tars: float | None) -> dict[str, Any]:
    return {"method": method, "heldout": [point(tar) for tar in tars], "lfw": []}


def test_a_line_for_each_method(tmp_path: Path) -> None:
    rows = [row(f"{name}, {faces}", 0.4) for name in ("cosine", "alone") for faces in ("10,000", "500")]
    (tmp_path / "table.json").write_text(json.dumps(rows))
    done = CliRunner().invoke(
        tool("draw_faces").main, [str(tmp_path / "table.json"), str(tmp_path / "faces.png")]
    )
    assert done.exit_code == 0, done.output
    picture = cv2.imread(str(tmp_path / "faces.png"))
    assert picture is not None
    # the blue and the orange of the two lines, and of their bars
    for colour in ((180, 119, 31), (14, 127, 255)):
        assert (np.abs(picture.astype(int) - colour).max(axis=2) < 40).sum() > 200


def test_seeds_are_averaged(tmp_path: Path) -> None:
    assert tool("draw_faces").tar_of([point(0.4), point(0.6)]) == pytest.approx((50.0, 40.0, 70.0))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row("cosine", 0.4)], "is not named 'METHOD, FACES'"),
        ([row("cosine, 100", None)], "too few comparisons"),
    ],
)
def test_what_cannot_be_drawn(tmp_path: Path, rows: list[dict[str, Any]], told: str) -> None:
    (tmp_path / "table.json").write_text(json.dumps(rows))
    done = CliRunner().invoke(
        tool("draw_faces").main, [str(tmp_path / "table.json"), str(tmp_path / "faces.png")]
    )
    assert isinstance(done.exception, UsageError)
    assert told in str(done.exception)


def test_the_share_of_each_part(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    records = [{"step": 20, "images": 160}]
    records += [{"step": step, "gradient_share": {"cosine": 0.25, "logit": 0.75}} for step in (1, 200, 400)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    done = CliRunner().invoke(tool("draw_shares").main, [str(tmp_path), str(tmp_path / "shares.png")])
    assert done.exit_code == 0, done.output
    picture = cv2.imread(str(tmp_path / "shares.png")).astype(int)
    first, second = (
        (np.abs(picture - colour).max(axis=2) < 60).sum() for colour in ((194, 146, 79), (50, 145, 255))
    )
    assert second / first == pytest.approx(3.0, rel=0.1)
    (tmp_path / "metrics.jsonl").write_text(json.dumps(records[0]) + "\n")
    alone = CliRunner().invoke(tool("draw_shares").main, [str(tmp_path), str(tmp_path / "shares.png")])
    assert isinstance(alone.exception, UsageError)
