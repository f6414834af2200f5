"""Intervals against SciPy's, and the bootstrap against drawing persons literally."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.bootstrap import (
    difference_bootstrap,
    effective_number,
    identity_bootstrap,
    identity_weights,
    weighted_tar,
)
from facekd.verification.intervals import clopper_pearson, extreme_interval, rule_of_three, wilson


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (0, 50), (1, 7), (24, 6000), (50, 50), (2999, 3000)])
def test_rates_agree_with_scipy(hits: int, trials: int) -> None:
    from scipy.stats import binomtest

    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        found = ours(hits, trials)
        expected = binomtest(hits, trials).proportion_ci(0.95, method)
        assert found.low == pytest.approx(expected.low, abs=1e-9)
        assert found.high == pytest.approx(expected.high, abs=1e-9)
        assert found.high > found.low


def test_rule_of_three_is_the_limit_of_the_exact_bound() -> None:
    # no event in n trials: the one-sided exact bound at 95 % is 1 - 0.05 ** (1 / n)
    for trials in (100, 3000, 10**6):
        assert rule_of_three(trials) == pytest.approx(1 - 0.05 ** (1 / trials), rel=0.02)
    assert rule_of_three(2) == 1


def test_rates_without_a_spread_are_bounded_by_the_persons() -> None:
    assert (extreme_interval(0.0, 60).low, extreme_interval(0.0, 60).high) == pytest.approx((0, 0.05))
    assert (extreme_interval(1.0, 60).low, extreme_interval(1.0, 60).high) == pytest.approx((0.95, 1))
    assert extreme_interval(1.0, 2).low == 0
    assert extreme_interval(0.999, 60) is None


@pytest.mark.parametrize(("hits", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_rate(hits: int, trials: int) -> None:
    for interval in (wilson, clopper_pearson):
        with pytest.raises(UsageError, match="not a rate"):
            interval(hits, trials)


def test_weights_draw_as_many_persons_as_there_are() -> None:
    drawn = list(identity_weights(30, 200))
    assert all(weights.sum() == 30 for weights in drawn)
    assert np.mean(drawn) == pytest.approx(1)
    assert any((weights == 0).any() for weights in drawn)
    np.testing.assert_array_equal(drawn, list(identity_weights(30, 200)))


@pytest.mark.parametrize("people", [2, 5000, 20_000])
def test_weights_are_those_drawn_one_replicate_after_the_other(people: int) -> None:
    random = np.random.default_rng(0)
    drawn = [np.bincount(random.integers(people, size=people), minlength=people) for _ in range(10)]
    np.testing.assert_array_equal(drawn, list(identity_weights(people, 10)))


def test_weighted_tar_is_that_of_the_drawn_persons() -> None:
    """Weights w_i and w_i * w_j against building the drawn set of comparisons copy by copy."""
    random = np.random.default_rng(3)
    people = 12
    ones = random.integers(people, size=40)
    pairs = np.array([(a, b) for a in range(people) for b in range(a)])
    mated, non_mated = random.normal(0.4, 0.3, 40), random.normal(0, 0.2, len(pairs))
    falling = np.argsort(-non_mated)
    for weights in identity_weights(people, 20, seed=4):
        copies = weights.astype(int)
        drawn_mated = np.repeat(mated, copies[ones])
        drawn_non_mated = np.repeat(non_mated, copies[pairs[:, 0]] * copies[pairs[:, 1]])
        tail_weights = (weights[pairs[:, 0]] * weights[pairs[:, 1]])[falling]
        found = weighted_tar(
            mated, weights[ones], non_mated[falling], tail_weights, float(drawn_non_mated.size), 0.1
        )
        assert found == pytest.approx(metrics.tar_at_fmr(drawn_mated, drawn_non_mated, 0.1))


def test_bootstrap_of_a_mean_is_students_interval() -> None:
    from scipy.stats import t

    values = np.random.default_rng(5).normal(0, 0.1, size=400)
    found = difference_bootstrap(lambda w: [float((w * values).sum() / w.sum())], 400, 20_000)[0]
    low, high = t.interval(0.95, 399, values.mean(), values.std(ddof=1) / 20)
    # the spread of 20,000 replicates is known to 0.5 % (one standard error)
    assert found.low == pytest.approx(low, abs=0.02 * (high - low))
    assert found.high == pytest.approx(high, abs=0.02 * (high - low))


def test_bootstrap_of_a_rate_is_students_interval_of_its_log_odds() -> None:
    """One trial for each person: by the delta method, log odds spread by 1 / sqrt(n p (1 - p))."""
    from scipy.stats import t

    hits = np.arange(400) < 360
    found = identity_bootstrap(lambda w: [float(w @ hits / w.sum())], 400, 20_000)[0]
    half = t.ppf(0.975, 399) / np.sqrt(400 * 0.9 * 0.1)
    for limit, side in ((found.low, -1), (found.high, 1)):
        odds = 9 * np.exp(side * half)
        assert limit == pytest.approx(odds / (1 + odds), abs=0.002)
    near = wilson(360, 400)
    assert found.low == pytest.approx(near.low, abs=0.005)
    assert found.high == pytest.approx(near.high, abs=0.005)


def test_few_persons_who_hold_most_comparisons_count_as_few() -> None:
    assert effective_number(np.full(40, 7)) == pytest.approx(40)
    assert effective_number(np.array([100] * 3 + [1] * 37)) == pytest.approx(337**2 / (3 * 10_000 + 37))


def test_intervals_hold_their_rates_and_stay_rates() -> None:
    """One error in one of 30 persons: replicates without it have no odds."""
    hits = np.arange(30) > 0
    found = identity_bootstrap(lambda w: [float(w @ hits / w.sum()), float(w @ ~hits / w.sum())], 30)
    assert 0 < found[0].low < 29 / 30 < found[0].high < 1
    assert found[1].low == pytest.approx(1 - found[0].high)
    assert found[1].high == pytest.approx(1 - found[0].low)
    never = identity_bootstrap(lambda w: [0.0, 1.0], 30)
    assert never[0].high == pytest.approx(0, abs=1e-9)
    assert never[1].low == pytest.approx(1, abs=1e-9)
    assert (never[0].low, never[1].high) == (0, 1)
    moved = difference_bootstrap(lambda w: [float(np.sign(w[0] - 1.5))], 30)[0]
    assert (moved.low, moved.high) != (-1, 1)
    assert -1 <= moved.low <= moved.high <= 1


def test_bootstrap_needs_people() -> None:
    for bootstrap in (identity_bootstrap, difference_bootstrap):
        with pytest.raises(UsageError, match="at least two"):
            bootstrap(lambda w: [1.0], 1)
        with pytest.raises(UsageError, match="too few"):
            bootstrap(lambda w: [float("nan")], 5)
