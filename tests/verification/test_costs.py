"""Costs against counting, against every partition, and against hand-computed ratios."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.costs import best_ratios, cllr, min_cllr, min_dcf, min_dcf_of, rate_costs

# few distinct values, so that ties are the rule
SCORES = st.lists(st.integers(-3, 3).map(lambda n: n / 4), min_size=1, max_size=10)


@settings(deadline=None, max_examples=200)
@given(SCORES, SCORES, st.sampled_from([0.001, 0.01, 0.3, 0.9]), st.sampled_from([(1, 1), (10, 1), (1, 7.5)]))
def test_min_dcf_by_brute_force(
    mated: list[float], non_mated: list[float], p_target: float, costs: tuple[float, float]
) -> None:
    miss, false = costs[0] * p_target, costs[1] * (1 - p_target)
    at_thresholds = [
        miss * np.mean([m < t for m in mated]) + false * np.mean([n >= t for n in non_mated])
        for t in np.arange(-9, 10) / 8
    ]
    found = min_dcf(mated, non_mated, p_target, *costs)
    assert found == pytest.approx(min(at_thresholds) / min(miss, false), abs=1e-9)
    assert found <= 1 + 1e-12


@settings(deadline=None, max_examples=200)
@given(SCORES, SCORES)
def test_min_dcf_from_scikit_learns_curve(mated: list[float], non_mated: list[float]) -> None:
    from sklearn.metrics import roc_curve

    truth = [1] * len(mated) + [0] * len(non_mated)
    fmr, tar, _ = roc_curve(truth, [*mated, *non_mated])
    expected = (0.01 * (1 - tar) + 0.99 * fmr).min() / 0.01
    assert min_dcf(mated, non_mated) == pytest.approx(expected, abs=1e-9)


def test_what_a_unit_of_each_rate_costs() -> None:
    assert rate_costs() == pytest.approx((1, 99))
    # 0.9 * 2 and 0.1 * 6, in units of the lesser
    assert rate_costs(0.9, 2, 6) == pytest.approx((3, 1))
    with pytest.raises(UsageError, match="the share of mated comparisons"):
        rate_costs(1.0)
    # at its thresholds: 0 + 99, 0.1 + 19.8, 0.5 + 0, 1 + 0
    curve = metrics.Roc(np.arange(4.0), np.array([1, 0.2, 0, 0]), np.array([0, 0.1, 0.5, 1]))
    assert min_dcf_of(curve) == pytest.approx(0.5)
    assert min_dcf_of(curve, 0.9, 2, 6) == pytest.approx(0.1 * 3 + 0.2)


def test_cllr_by_hand() -> None:
    # odds of 3 and 1 for mated, 1/3 and 2 for non-mated comparisons
    mated, non_mated = [math.log(3), 0.0], [math.log(1 / 3), math.log(2)]
    expected = ((math.log2(4 / 3) + 1) / 2 + (math.log2(4 / 3) + math.log2(3)) / 2) / 2
    assert cllr(mated, non_mated) == pytest.approx(expected, abs=1e-12)
    assert cllr([0, 0], [0]) == pytest.approx(1, abs=1e-12)
    assert cllr([800.0], [-800.0]) == 0
    assert cllr([-800.0], [-800.0]) == pytest.approx(400 / math.log(2))
    assert cllr([np.inf, np.inf], [-np.inf]) == 0
    assert cllr([np.inf, -np.inf], [-np.inf]) == np.inf


def test_cllr_is_the_log_loss_at_even_odds() -> None:
    from sklearn.metrics import log_loss

    random = np.random.default_rng(0)
    mated, non_mated = random.normal(1, 2, 300), random.normal(-1, 2, 500)
    posterior = 1 / (1 + np.exp(-np.r_[mated, non_mated]))
    truth = np.r_[np.ones(300), np.zeros(500)]
    weights = np.r_[np.full(300, 1 / 300), np.full(500, 1 / 500)]
    expected = log_loss(truth, posterior, sample_weight=weights) / math.log(2)
    assert cllr(mated, non_mated) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=150)
@given(SCORES, SCORES)
def test_min_cllr_is_the_least_of_all_rising_maps(mated: list[float], non_mated: list[float]) -> None:
    """A rising map pools runs of neighbouring scores; every way to cut the scores into runs is tried."""
    levels = sorted({*mated, *non_mated})
    costs = []
    for cuts in itertools.product([False, True], repeat=len(levels) - 1):
        run = dict(zip(levels, itertools.accumulate([0, *cuts]), strict=True))
        yes = np.bincount([run[m] for m in mated], minlength=len(levels)) / len(mated)
        no = np.bincount([run[n] for n in non_mated], minlength=len(levels)) / len(non_mated)
        used = (yes + no) > 0
        odds = [math.inf if n == 0 else y / n for y, n in zip(yes[used], no[used], strict=True)]
        if odds == sorted(odds):
            of_yes = sum(y * math.log2((y + n) / y) for y, n in zip(yes, no, strict=True) if y)
            of_no = sum(n * math.log2((y + n) / n) for y, n in zip(yes, no, strict=True) if n)
            costs.append((of_yes + of_no) / 2)
    assert min_cllr(mated, non_mated) == pytest.approx(min(costs), abs=1e-9)


def test_min_cllr_agrees_with_scikit_learns_isotonic_map() -> None:
    from sklearn.isotonic import IsotonicRegression

    random = np.random.default_rng(3)
    mated, non_mated = random.normal(1, 1, 400).round(2), random.normal(-1, 1, 700).round(2)
    truth = np.r_[np.ones(400), np.zeros(700)]
    weights = np.r_[np.full(400, 1 / 400), np.full(700, 1 / 700)]
    scores = np.r_[mated, non_mated]
    chance = IsotonicRegression().fit_transform(scores, truth, sample_weight=weights)
    with np.errstate(divide="ignore"):
        ratios = np.log(chance) - np.log1p(-chance)
    assert min_cllr(mated, non_mated) == pytest.approx(cllr(ratios[:400], ratios[400:]), abs=1e-9)
    best, at_mated, at_non_mated = best_ratios(mated, non_mated)
    levels = np.unique(scores)
    np.testing.assert_allclose(best[np.searchsorted(levels, mated)], ratios[:400], atol=1e-9)
    np.testing.assert_array_equal(at_mated, [(mated == level).sum() for level in levels])
    np.testing.assert_array_equal(at_non_mated, [(non_mated == level).sum() for level in levels])


def test_min_cllr_asks_for_the_order_of_scores_only() -> None:
    random = np.random.default_rng(4)
    mated, non_mated = random.normal(1, 1, 50), random.normal(0, 1, 60)
    assert min_cllr(mated, non_mated) == pytest.approx(min_cllr(np.exp(mated), np.exp(non_mated)), abs=1e-12)
    assert min_cllr(mated, non_mated) <= cllr(mated, non_mated)


def test_scores_that_say_all_or_nothing() -> None:
    assert min_cllr([0.5] * 4, [0.5] * 7) == pytest.approx(1, abs=1e-12)
    assert min_cllr([0.1], [0.9]) == pytest.approx(1, abs=1e-12)
    assert min_cllr([0.8, 0.9], [0.1]) == 0
    assert min_dcf([0.8, 0.9], [0.1]) == 0
    assert min_dcf([0.5], [0.5]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("mated", "non_mated", "told"),
    [([], [0.1], "no mated"), ([0.1], [], "no non-mated"), ([float("nan")], [0.1], "not finite")],
)
def test_scores_that_cannot_be_judged(mated: list, non_mated: list, told: str) -> None:
    for judge in (min_dcf, cllr, min_cllr):
        with pytest.raises(UsageError, match=told):
            judge(mated, non_mated)


@pytest.mark.parametrize("settings", [(0, 1, 1), (1, 1, 1), (0.1, 0, 1), (0.1, 1, -2), (0.1, 1, np.inf)])
def test_costs_that_are_none(settings: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match=r"must be between|positive"):
        min_dcf([0.9], [0.1], *settings)
