"""Intervals hold the truth as often as they say: `tools/measure_coverage.py` with few sets.

A share of ``sets`` that hold the truth is binomial. The bounds below are where it falls in one of a
thousand runs if the coverage is the least (or the most) that is promised.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

from facekd.verification import metrics
from facekd.verification.intervals import clopper_pearson, wilson


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "measure_coverage.py"
    spec = importlib.util.spec_from_file_location("measure_coverage_tool", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def _least(sets: int, coverage: float) -> float:
    return binom.ppf(0.001, sets, coverage) / sets


def test_independent_trials(tool: ModuleType) -> None:
    sets = 2000
    for trials, rate in tool.TRIALS:
        share = tool.independent(wilson, trials, rate, sets)
        assert _least(sets, 0.93) <= share <= 1 - _least(sets, 0.03)
        assert tool.independent(clopper_pearson, trials, rate, sets) >= _least(sets, 0.95)


def test_the_share_that_is_counted_is_the_exact_one(tool: ModuleType) -> None:
    held = [clopper_pearson(hits, 40).low <= 0.9 <= clopper_pearson(hits, 40).high for hits in range(41)]
    exact = binom.pmf(np.arange(41), 40, 0.9) @ held
    share = tool.independent(clopper_pearson, 40, 0.9, 20_000)
    assert share == pytest.approx(exact, abs=3.3 * np.sqrt(exact * (1 - exact) / 20_000))


def test_the_model_has_the_rates_it_states(tool: ModuleType) -> None:
    case = tool.Case(20_000, True, 2.6, 200_000)
    yes, no, ones, others = case.draw(np.random.default_rng(0))
    auc, eer, tar = case.truth()
    # two standard errors of 20,000 persons are 0.7 points at the most
    assert metrics.auc(yes, no) == pytest.approx(auc, abs=0.007)
    assert metrics.eer(yes, no) == pytest.approx(eer, abs=0.007)
    assert metrics.tar_at_fmr(yes, no, tool.FMR) == pytest.approx(tar, abs=0.007)
    assert (others[:, 0] != others[:, 1]).all()
    np.testing.assert_array_equal(np.bincount(ones), 6)


@pytest.mark.parametrize(
    ("people", "equal", "separation", "promised"),
    [
        (300, True, 2.6, 0.92),
        (300, True, 4.2, 0.92),
        (300, False, 2.6, 0.9),
        (50, True, 2.6, 0.9),
        (20, True, 2.6, 0.9),
    ],
)
def test_bootstrap_over_identities(
    tool: ModuleType, people: int, equal: bool, separation: float, promised: float
) -> None:
    sets = 60
    printed, _ = tool.clustered(tool.Case(people, equal, separation, 4000), sets, replicates=200)
    assert (printed >= _least(sets, promised)).all()
