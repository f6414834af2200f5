"""The error-versus-discard curve, against counting by hand."""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import measure_quality as tool


@pytest.fixture
def made():
    """Mated comparisons of 200 people, of which some 14 % fail at 0.3."""
    rng = np.random.default_rng(0)
    score = rng.normal(0.5, 0.18, 2000)
    return lambda quality: tool.Mated(score, quality(score, rng), np.arange(2000) // 10)


def test_a_curve_is_what_counting_gives(made) -> None:
    mated = made(lambda score, rng: score + rng.normal(0, 0.2, len(score)))
    rows, _ = tool.measure(mated, 0.3)
    order = sorted(range(2000), key=lambda place: mated.quality[place])
    for row in rows:
        kept = order[round(row.left_out * 2000) :]
        assert row.fnmr == pytest.approx(
            sum(mated.score[place] < 0.3 for place in kept) / len(kept), abs=1e-9
        )
        assert row.low <= row.fnmr <= row.high


def test_a_random_order_is_worth_nothing_and_a_perfect_one_everything(made) -> None:
    _, by_chance = tool.measure(made(lambda score, rng: rng.random(len(score))), 0.3)
    assert by_chance["low"] < 0 < by_chance["high"]
    assert abs(by_chance["share"]) < 0.1
    _, perfect = tool.measure(made(lambda score, rng: score), 0.3)
    assert perfect["share"] == pytest.approx(1)
    _, reversed_ = tool.measure(made(lambda score, rng: -score), 0.3)
    assert reversed_["share"] < 0


def test_the_threshold_is_the_score_that_so_many_reach(monkeypatch) -> None:
    monkeypatch.setattr(tool, "_ROWS", 7)
    rows = np.random.default_rng(1).normal(size=(100, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = sorted((float(rows[a] @ rows[b]) for a, b in combinations(range(100), 2)), reverse=True)
    for fmr in (1e-3, 1e-2, 0.2):
        assert tool.threshold_at(rows, fmr) == pytest.approx(scores[max(1, round(fmr * 4950)) - 1], abs=1e-6)
