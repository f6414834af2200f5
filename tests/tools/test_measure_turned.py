"""The tool that compares turned with frontal faces: its offset and its rates, against counting by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import measure_turned as tool

FRONTAL = np.array([[40, 50], [72, 50], [56, 70], [42, 90], [70, 90]], np.float32)


@pytest.mark.parametrize("angle", [0, 30, -75])
def test_offset_is_along_the_eyes_whatever_way_the_head_lies(angle: float) -> None:
    turned = FRONTAL + np.array([[0, 0], [0, 0], [12, 0], [0, 0], [0, 0]], np.float32)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    rotation = np.array([[cos, -sin], [sin, cos]])
    assert tool.offset_of(FRONTAL @ rotation.T) == pytest.approx(0, abs=1e-5)
    assert tool.offset_of(turned @ rotation.T) == pytest.approx(12 / 40, abs=1e-5)


def test_rates_are_what_counting_gives(monkeypatch) -> None:
    monkeypatch.setattr(tool, "FMR", 0.02)
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 6)
    rows = rng.normal(size=(30, 16))[labels] + 0.9 * rng.normal(size=(180, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    turned = np.arange(180) % 6 >= 4
    for kind in (~turned, turned):
        pairs = {
            (min(a, b), max(a, b)): float(rows[a] @ rows[b])
            for a in np.flatnonzero(kind)
            for b in np.flatnonzero(~turned)
            if a != b
        }
        mated = [score for (a, b), score in pairs.items() if labels[a] == labels[b]]
        others = sorted((score for (a, b), score in pairs.items() if labels[a] != labels[b]), reverse=True)
        threshold = others[round(0.02 * len(others)) - 1] - 1e-6
        found = tool.measure(rows, labels, kind, ~turned)
        assert (found.mated, found.non_mated) == (len(mated), len(others))
        assert found.tar == pytest.approx(sum(score >= threshold for score in mated) / len(mated), abs=1e-3)
        assert found.low < found.tar < found.high
