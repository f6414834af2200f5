"""Intervals against SciPy's, and the bootstrap against drawing persons literally."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.intervals import (
    clopper_pearson,
    identity_bootstrap,
    identity_weights,
    rule_of_three,
    weighted_tar,
    wilson,
)


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


def test_bootstrap_of_a_mean_covers_what_theory_says() -> None:
    values = np.random.default_rng(5).normal(size=400)
    found = identity_bootstrap(lambda w: [float((w * values).sum() / w.sum())], 400)[0]
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_needs_people() -> None:
    with pytest.raises(UsageError, match="at least two"):
        identity_bootstrap(lambda w: [1.0], 1)
    with pytest.raises(UsageError, match="too few"):
        identity_bootstrap(lambda w: [float("nan")], 5)
