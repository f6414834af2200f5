"""The tool that counts refused photos by group, against counting by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import measure_refusals as tool

from facekd.card import read_card
from facekd.verification import wilson
from facekd.weights import shipped_model


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Ten crops of sharp patterns without noise, of which three are black nearly everywhere."""
    rng = np.random.default_rng(0)
    for number in range(10):
        coarse = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((112, 112), Image.Resampling.BICUBIC))
        folder = tmp_path / "crops" / f"p{number}"
        folder.mkdir(parents=True)
        Image.fromarray(pixels // 20 if number < 3 else pixels).save(folder / "1.png")
    return tmp_path / "crops"


def cells(told: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines() if "|" in line]
    return {row[0]: row[1:] for row in rows}


def test_dark_photos_are_counted_in_their_group(crops: Path, tmp_path: Path) -> None:
    model = shipped_model()
    assert model is not None
    limits = read_card(model)[0].photo_limits
    assert limits is not None
    assert {limit.reason: limit.limit for limit in limits.limits}["too_dark"] > 255 / 20
    groups = tmp_path / "groups.csv"
    lines = [f"p{number}/1.png,{'left' if number < 4 else 'right'}" for number in range(10)]
    groups.write_text("photo,group\n" + "\n".join(lines) + "\n")
    told = CliRunner().invoke(tool.main, [str(model), str(crops), "--aligned", "--groups", str(groups)])
    assert told.exit_code == 0, told.output
    rows = cells(told.output)
    dark = rows["group"].index("too_dark")
    assert (rows["left"][0], rows["right"][0]) == ("4", "6")
    assert rows["left"][dark].startswith("3 (")
    assert rows["right"][dark].startswith("0 (")
    interval = wilson(3, 4)
    assert rows["left"][-1] == f"75.00 % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def test_a_group_of_a_photo_that_is_not_there_is_refused(crops: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("photo,group\np0/1.png,left\np0/2.png,left\n")
    told = CliRunner().invoke(
        tool.main, [str(shipped_model()), str(crops), "--aligned", "--groups", str(groups)]
    )
    assert told.exit_code != 0
    assert "p0/2.png" in str(told.exception)
