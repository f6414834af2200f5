"""Influences against derivatives by difference, and what follows from them against drawn sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.verification import costs, metrics
from facekd.verification.bootstrap import multiple_of, replicated
from facekd.verification.drawn_rates import PairStatistics
from facekd.verification.influence_functions import (
    Influence,
    PairSums,
    auc_influence,
    changes,
    d_prime_influence,
    eer_influence,
    min_dcf_influence,
    partial_auc_influence,
    tar_influence,
)

PEOPLE = 40


def _drawn(seed: int = 0, decimals: int = 8) -> tuple[np.ndarray, np.ndarray, PairSums]:
    """Scores of 40 persons who differ, rounded to ``decimals``."""
    random = np.random.default_rng(seed)
    ones, others = random.integers(PEOPLE, size=200), random.integers(PEOPLE, size=(500, 2))
    others = others[others[:, 0] != others[:, 1]]
    hard = random.normal(0, 0.7, PEOPLE)
    yes = 2 + hard[ones] + random.normal(0, 0.7, ones.size)
    no = 0.5 * hard[others].sum(1) + random.normal(0, 0.7, len(others))
    return yes.round(decimals), no.round(decimals), PairSums(ones, others, PEOPLE)


def _whole(influence: Influence) -> np.ndarray:
    return influence.mated + influence.non_mated


def _derivative(rate, step: float = 1e-5) -> np.ndarray:
    ups = [np.ones(PEOPLE) + step * one for one in np.eye(PEOPLE)]
    return np.array([rate(up) - rate(2 - up) for up in ups]) / (2 * step)


@pytest.mark.parametrize("decimals", [8, 0])
def test_auc_influence_is_its_derivative(decimals: int) -> None:
    yes, no, sums = _drawn(decimals=decimals)

    def auc(weights: np.ndarray) -> float:
        pairs = weights[sums.ones][:, None] * weights[sums.others].prod(1)
        beaten = (yes[:, None] > no) + 0.5 * (yes[:, None] == no)
        return float((pairs * beaten).sum() / pairs.sum())

    influence = auc_influence(metrics.levels_of(yes, no), sums)
    np.testing.assert_allclose(_whole(influence), _derivative(auc), atol=1e-8)
    assert influence.dyads.size == 0


def _at(scores: np.ndarray, weights: np.ndarray, threshold: float) -> float:
    return float(weights[scores >= threshold].sum() / weights.sum())


def test_tar_influence_is_that_of_both_rates_at_the_threshold() -> None:
    yes, no, sums = _drawn()
    levels = metrics.levels_of(yes, no)
    threshold = metrics.threshold_at_fmr(yes, no, 0.05)
    tar = _derivative(lambda w: _at(yes, w[sums.ones], threshold))
    fmr = _derivative(lambda w: _at(no, w[sums.others].prod(1), threshold))
    far = 2 * np.sqrt((fmr**2).sum())
    assert far < 0.05
    tars = [metrics.tar_at_fmr(yes, no, rate) for rate in (0.05 - far, 0.05 + far)]
    fmrs = [metrics.fmr_at(no, metrics.threshold_at_fmr(yes, no, rate)) for rate in (0.05 - far, 0.05 + far)]
    # the thresholds of the ROC are scores: one may refuse a mated score more than the middle does
    slope = (tars[1] - tars[0]) / (fmrs[1] - fmrs[0])
    influence = tar_influence(levels, levels.curve(), 0.05, sums)
    np.testing.assert_allclose(influence.mated, tar, atol=1e-8)
    np.testing.assert_allclose(influence.non_mated, -slope * fmr, atol=1e-8)


def test_eer_influence_mixes_those_of_the_two_rates() -> None:
    yes, no, sums = _drawn()
    levels = metrics.levels_of(yes, no)
    curve = levels.curve()
    place = np.argmin(np.abs(curve.fmr - curve.fnmr))
    threshold = curve.thresholds[place]
    fnmr = _derivative(lambda w: 1 - _at(yes, w[sums.ones], threshold))
    fmr = _derivative(lambda w: _at(no, w[sums.others].prod(1), threshold))
    missed, false = changes(curve, curve.fmr[place], fmr)
    influence = eer_influence(levels, curve, sums)
    np.testing.assert_allclose(influence.mated, false / (missed + false) * fnmr, atol=1e-8)
    np.testing.assert_allclose(influence.non_mated, missed / (missed + false) * fmr, atol=1e-8)


def _of_curve(levels: metrics.Levels, sums: PairSums, number):
    """``number`` of the curve of weighted comparisons, as a function of the persons' weights."""
    return lambda w: number(levels.curve(w[sums.ones], w[sums.others].prod(1)))


def test_partial_auc_influence_is_its_derivative() -> None:
    yes, no, sums = _drawn()
    levels = metrics.levels_of(yes, no)
    # between two steps of the FMR, so that no person moves the end past a mated score
    highest = 25.5 / no.size
    derivative = _derivative(_of_curve(levels, sums, lambda curve: metrics.partial_auc_of(curve, highest)))
    influence = partial_auc_influence(levels, levels.curve(), highest, sums)
    np.testing.assert_allclose(_whole(influence), derivative, atol=1e-6)
    assert np.abs(derivative).max() > 1e-3


def test_min_dcf_influence_is_its_derivative() -> None:
    yes, no, sums = _drawn()
    levels = metrics.levels_of(yes, no)
    derivative = _derivative(_of_curve(levels, sums, costs.min_dcf_of))
    influence = min_dcf_influence(levels, levels.curve(), sums)
    np.testing.assert_allclose(_whole(influence), derivative, atol=1e-6)
    assert np.abs(derivative).max() > 1e-3


def test_d_prime_influence_is_its_derivative() -> None:
    yes, no, sums = _drawn(decimals=1)

    def d_prime(weights: np.ndarray) -> float:
        pairs = weights[sums.others].prod(1)
        high, low = np.average(yes, weights=weights[sums.ones]), np.average(no, weights=pairs)
        variances = (
            np.average((yes - high) ** 2, weights=weights[sums.ones]),
            np.average((no - low) ** 2, weights=pairs),
        )
        return float((high - low) / np.sqrt(np.mean(variances)))

    influence = d_prime_influence(metrics.levels_of(yes, no), sums)
    np.testing.assert_allclose(_whole(influence), _derivative(d_prime), atol=1e-7)
    still = d_prime_influence(metrics.levels_of(np.ones(yes.size), np.zeros(no.size)), sums)
    assert not _whole(still).any()


def test_what_a_dyad_adds_is_the_sum_of_its_comparisons() -> None:
    others = np.array([[0, 1], [1, 0], [2, 1], [0, 1], [2, 3]])
    values = np.array([1, 0, 0, 1, 0])
    by_person, dyads = PairSums(np.array([0]), others, 4).non_mated(values)
    # deviations from the mean of 2/5, over 5: 3/25 for a one, -2/25 for a zero
    assert sorted(dyads * 25) == pytest.approx([-2, -2, 4])
    assert by_person * 25 == pytest.approx([4, 2, -4, -2])


def test_changes_are_those_of_the_curve() -> None:
    curve = metrics.roc(np.arange(0.5, 10), np.arange(10.0))
    # two standard errors of 0.1 to both sides of 0.4: FMR 0.2 to 0.6, thresholds 8 to 4
    assert changes(curve, 0.4, np.full(4, 0.05)) == pytest.approx((0.4, 0.4))
    # the ends of the curve are not passed
    assert changes(curve, 0.4, np.full(4, 0.5)) == pytest.approx((1, 1))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=30))
def test_freedom_is_that_of_the_kurtosis(values: list[int]) -> None:
    from scipy.stats import kurtosis

    both = np.array([*values, *[-v for v in values]], np.float64)  # so that the mean is 0
    found = Influence(both / 2, both / 2, np.empty(0)).freedom
    if len(set(both.tolist())) == 1:
        assert found == both.size - 1
        return
    excess = kurtosis(both, fisher=False) - 1
    expected = min(both.size - 1, 2 * both.size / excess) if excess > 1e-9 else both.size - 1
    assert found == pytest.approx(expected)


def test_freedom_of_the_spread_of_normal_and_of_rare_influences() -> None:
    """A chi square of f degrees varies by sqrt(2 / f) of its mean."""
    random = np.random.default_rng(1)
    normal = random.normal(size=(4000, 200))
    rare = normal * (random.random((4000, 200)) < 0.1)
    for drawn in (normal, rare):
        squares = (drawn**2).sum(1)
        expected = 2 * (squares.mean() / squares.std()) ** 2
        found = [Influence(row, np.zeros(200), np.empty(0)).freedom for row in drawn]
        assert np.median(found) == pytest.approx(expected, rel=0.2)


def test_nobody_moves_what_stands_still() -> None:
    still = Influence(np.zeros(5), np.zeros(5), np.zeros(3))
    assert (still.freedom, still.shrinkage) == (4, 1)
    moved = Influence(np.arange(5.0), np.ones(5), np.empty(0)) - Influence(
        np.ones(5), np.zeros(5), np.empty(0)
    )
    np.testing.assert_array_equal(_whole(moved), np.arange(5))


def test_a_shrunken_spread_is_that_of_sets_drawn_anew() -> None:
    """An FMR of pairs that share persons, who do not differ: its spread is binomial, and the
    bootstrap's the square root of three times that."""
    random = np.random.default_rng(2)
    others = np.array([(a, b) for a in range(60) for b in range(a) if (a + b) % 5 == 0])
    ratios = []
    for _ in range(30):
        no = (random.random(len(others)) < 0.2).astype(float)
        sums = PairSums(np.arange(60), others, 60)
        fmr = [np.average(no, weights=w[others].prod(1)) for w in _weights(60)]
        by_person, dyads = sums.non_mated(no)
        influence = Influence(np.zeros(60), by_person, dyads)
        binomial = np.sqrt(no.mean() * (1 - no.mean()) / no.size)
        ratios.append((np.std(fmr) / binomial, np.std(fmr) * influence.shrinkage / binomial))
    plain, shrunken = np.mean(ratios, axis=0)
    assert plain == pytest.approx(np.sqrt(3), rel=0.06)
    assert shrunken == pytest.approx(1, rel=0.06)


def _weights(people: int) -> list[np.ndarray]:
    from facekd.verification.bootstrap import identity_weights

    return list(identity_weights(people, 200, seed=3))


def test_influences_foretell_the_spread_of_the_replicates() -> None:
    """To first order a replicate's variance is sum(L^2) + sum(D^2)."""
    yes, no, sums = _drawn(seed=4)
    statistics = PairStatistics(metrics.levels_of(yes, no), sums, [0.1])
    spread = replicated(statistics, PEOPLE, 1000).std(axis=0)
    levels = metrics.levels_of(yes, no)
    dyads = sums.non_mated(1 - np.searchsorted(np.sort(yes), no) / yes.size)[1]
    for influence, drawn in zip(statistics.influences(), spread, strict=True):
        doubly = influence.dyads if influence.dyads.size else dyads
        expected = np.sqrt((_whole(influence) ** 2).sum() + (doubly**2).sum())
        assert drawn == pytest.approx(expected, rel=0.2)
    assert [_whole(i).size for i in statistics.influences()] == [PEOPLE] * 3
    np.testing.assert_array_equal(_whole(statistics.influences()[0]), _whole(auc_influence(levels, sums)))


def test_multiple_is_students_with_both_corrections() -> None:
    from scipy.stats import t

    influence = Influence(np.array([3.0, -1, -1, -1]), np.array([1.0, -1, 0, 0]), np.array([1.0]))
    squares = np.array([16.0, 4, 1, 1])
    freedom = 2 * 4 / (4 * (squares**2).sum() / 22**2 - 1)
    once = 22 - 1  # more than the 12 of the mated comparisons and 1
    expected = t.ppf(0.975, min(3, freedom)) * np.sqrt(4 / 3) * np.sqrt(once / 23)
    assert multiple_of(influence) == pytest.approx(expected)
