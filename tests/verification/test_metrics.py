"""Rates against scikit-learn and against counting by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.drawn_rates import weighted_d_prime

# few distinct values, so that ties are the rule
SCORES = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=1, max_size=12)


def _sets(seed: int, tied: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    mated, non_mated = random.normal(0.5, 0.2, 400), random.normal(0.1, 0.2, 900)
    return (mated.round(1), non_mated.round(1)) if tied else (mated, non_mated)


@pytest.mark.parametrize("tied", [False, True])
def test_roc_and_auc_agree_with_scikit_learn(tied: bool) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    mated, non_mated = _sets(1, tied)
    truth = np.r_[np.ones(mated.size), np.zeros(non_mated.size)]
    fpr, tpr, thresholds = roc_curve(truth, np.r_[mated, non_mated], drop_intermediate=False)
    curve = metrics.roc(mated, non_mated)
    np.testing.assert_allclose(curve.fmr[::-1], fpr, atol=1e-12)
    np.testing.assert_allclose(1 - curve.fnmr[::-1], tpr, atol=1e-12)
    np.testing.assert_array_equal(curve.thresholds[::-1], thresholds)
    expected = roc_auc_score(truth, np.r_[mated, non_mated])
    assert metrics.auc(mated, non_mated) == pytest.approx(expected, abs=1e-9)


def test_weights_mean_repetition() -> None:
    random = np.random.default_rng(2)
    mated, non_mated = random.normal(0.5, 0.3, 40).round(1), random.normal(0, 0.3, 50).round(1)
    w_mated, w_non_mated = random.integers(0, 4, 40), random.integers(0, 4, 50)
    weighted = metrics.levels_of(mated, non_mated).curve(w_mated, w_non_mated)
    repeated = metrics.roc(np.repeat(mated, w_mated), np.repeat(non_mated, w_non_mated))
    assert metrics.auc_of(weighted) == pytest.approx(metrics.auc_of(repeated), abs=1e-12)
    assert metrics.eer_of(weighted) == pytest.approx(metrics.eer_of(repeated), abs=1e-12)


@settings(deadline=None, max_examples=200)
@given(SCORES, SCORES)
def test_auc_and_eer_by_brute_force(mated: list[float], non_mated: list[float]) -> None:
    wins = [(m > n) + (m == n) / 2 for m in mated for n in non_mated]
    assert metrics.auc(mated, non_mated) == pytest.approx(np.mean(wins), abs=1e-12)

    rates = [
        (np.mean([n >= t for n in non_mated]), np.mean([m < t for m in mated]))
        for t in {*mated, *non_mated, float("inf")}
    ]
    nearest = min(abs(fmr - fnmr) for fmr, fnmr in rates)
    halves = [(a + b) / 2 for a, b in rates if abs(abs(a - b) - nearest) < 1e-9]
    assert metrics.eer(mated, non_mated) == pytest.approx(np.mean(halves), abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(SCORES, SCORES, st.sampled_from([0.01, 0.1, 0.25, 0.3, 0.5, 0.9]))
def test_threshold_at_fmr_by_brute_force(mated: list[float], non_mated: list[float], fmr: float) -> None:
    threshold = metrics.threshold_at_fmr(mated, non_mated, fmr)
    assert metrics.fmr_at(non_mated, threshold) <= fmr + 1e-9
    # any threshold at or below the next lower score lets too many through
    lower = [s for s in non_mated if s < threshold]
    assert metrics.fmr_at(non_mated, max(lower)) > fmr
    # every threshold up to the next higher score decides alike, and ours is the middle
    higher = [s for s in [*mated, *non_mated] if s > max(lower)]
    if higher:
        assert threshold == pytest.approx((max(lower) + min(higher)) / 2)
    tar = np.mean([m >= threshold for m in mated])
    assert metrics.tar_at_fmr(mated, non_mated, fmr) == pytest.approx(tar)
    assert metrics.fnmr_at(mated, threshold) == pytest.approx(1 - tar)


@settings(deadline=None, max_examples=200)
@given(SCORES, SCORES)
def test_best_threshold_by_brute_force(mated: list[float], non_mated: list[float]) -> None:
    def right(threshold: float) -> int:
        return sum(m >= threshold for m in mated) + sum(n < threshold for n in non_mated)

    levels = sorted({*mated, *non_mated})
    everywhere = [levels[0], *[(a + b) / 2 for a, b in itertools.pairwise(levels)], levels[-1] + 1]
    assert right(metrics.best_threshold(mated, non_mated)) == max(map(right, everywhere))


def test_best_threshold_is_the_middle_of_the_widest_interval() -> None:
    assert metrics.best_threshold([0.8, 0.9], [0.1, 0.2]) == pytest.approx(0.5)
    # equally good between 0.1 and 0.2 and between 0.3 and 0.7: the second leaves more room
    assert metrics.best_threshold([0.2, 0.7], [0.1, 0.3]) == pytest.approx(0.5)


def test_all_scores_equal() -> None:
    mated, non_mated = [0.5] * 4, [0.5] * 6
    assert metrics.auc(mated, non_mated) == 0.5
    assert metrics.eer(mated, non_mated) == 0.5
    threshold = metrics.threshold_at_fmr(mated, non_mated, 0.1)
    assert threshold > 0.5
    assert metrics.tar_at_fmr(mated, non_mated, 0.1) == 0


def test_a_single_precision_score_is_not_rounded_onto_its_threshold() -> None:
    non_mated = np.array([0.1, 0.3], np.float32)
    mated = np.array([np.nextafter(np.float32(0.3), np.float32(1))], np.float32)
    assert metrics.tar_at_fmr(mated, non_mated, 0.4) == 1
    assert metrics.fmr_at(non_mated, metrics.threshold_at_fmr(mated, non_mated, 0.4)) == 0


@pytest.mark.parametrize(
    ("mated", "non_mated", "told"),
    [
        ([], [0.1], "no mated scores"),
        ([0.1], [], "no non-mated scores"),
        ([0.1, float("nan")], [0.1], "1 of 2 mated scores are not finite"),
        ([0.1], [float("inf")], "non-mated scores are not finite"),
        ([[0.1]], [0.1], "one row"),
    ],
)
def test_scores_that_cannot_be_judged(mated: list, non_mated: list, told: str) -> None:
    for judge in (metrics.roc, metrics.auc, metrics.eer, metrics.best_threshold, metrics.d_prime):
        with pytest.raises(UsageError, match=told):
            judge(mated, non_mated)
    with pytest.raises(UsageError, match=told):
        metrics.tar_at_fmr(mated, non_mated, 0.1)
    with pytest.raises(UsageError, match=told):
        metrics.partial_auc(mated, non_mated, 0.1)


@pytest.mark.parametrize("fmr", [0.0, 1.0, -0.1, float("nan")])
def test_an_fmr_outside_its_range(fmr: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        metrics.threshold_at_fmr([0.5], [0.1], fmr)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("highest", [1e-3, 0.01, 0.1, 0.33, 1.0])
def test_partial_auc_agrees_with_scikit_learn(tied: bool, highest: float) -> None:
    from sklearn.metrics import roc_auc_score

    mated, non_mated = _sets(1, tied)
    truth = np.r_[np.ones(mated.size), np.zeros(non_mated.size)]
    expected = roc_auc_score(truth, np.r_[mated, non_mated], max_fpr=highest)
    assert metrics.partial_auc(mated, non_mated, highest) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(SCORES, SCORES, st.sampled_from([0.01, 0.1, 0.25, 1 / 3, 0.5, 0.9]))
def test_partial_auc_of_small_sets(mated: list[float], non_mated: list[float], highest: float) -> None:
    from sklearn.metrics import roc_auc_score

    truth = [1] * len(mated) + [0] * len(non_mated)
    expected = roc_auc_score(truth, [*mated, *non_mated], max_fpr=highest)
    assert metrics.partial_auc(mated, non_mated, highest) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("highest", [0.0, -0.1, 1.1, float("nan")])
def test_a_partial_area_needs_a_range(highest: float) -> None:
    with pytest.raises(UsageError, match="partial AUC"):
        metrics.partial_auc([0.5], [0.1], highest)


@settings(deadline=None, max_examples=200)
@given(SCORES, SCORES, st.sampled_from([0.01, 0.1, 0.25, 0.3, 0.5, 0.9]))
def test_tar_of_a_curve_is_that_of_its_scores(mated: list[float], non_mated: list[float], fmr: float) -> None:
    expected = metrics.tar_at_fmr(mated, non_mated, fmr)
    assert metrics.tar_of(metrics.roc(mated, non_mated), fmr) == pytest.approx(expected, abs=1e-12)
    allowed = [t for t in [*mated, *non_mated, 2.0] if np.mean([n >= t for n in non_mated]) <= fmr + 1e-9]
    missed = np.mean([m < min(allowed) for m in mated])
    assert metrics.fnmr_at_fmr(mated, non_mated, fmr) == pytest.approx(missed, abs=1e-12)


@settings(deadline=None, max_examples=200)
@given(SCORES, SCORES)
def test_d_prime_by_hand(mated: list[float], non_mated: list[float]) -> None:
    import statistics

    gap = statistics.fmean(mated) - statistics.fmean(non_mated)
    variance = (statistics.pvariance(mated) + statistics.pvariance(non_mated)) / 2
    if variance:
        assert metrics.d_prime(mated, non_mated) == pytest.approx(gap / variance**0.5, abs=1e-9)
    else:
        assert metrics.d_prime(mated, non_mated) == (np.copysign(np.inf, gap) if gap else 0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=8),
)
def test_weights_of_d_prime_mean_repetition(mated: list[tuple], non_mated: list[tuple]) -> None:
    (yes, times_yes), (no, times_no) = (np.array(kind).T for kind in (mated, non_mated))
    assume(times_yes.any() and times_no.any())
    # tenths are no binary numbers: sums of them are rounded
    (found,) = weighted_d_prime(yes / 10, times_yes[:, None], no / 10, times_no[:, None])
    expected = metrics.d_prime(np.repeat(yes / 10, times_yes), np.repeat(no / 10, times_no))
    assert found == pytest.approx(expected, abs=1e-9)


def test_d_prime_of_equal_scores_that_binary_numbers_cannot_hold() -> None:
    assert metrics.d_prime([0.1] * 10, [0.1] * 3) == 0
    assert metrics.d_prime([0.3] * 3, [0.1] * 10) == np.inf
    assert metrics.d_prime([0.1] * 10, [0.3] * 3) == -np.inf


@settings(deadline=None, max_examples=100)
@given(SCORES, SCORES)
def test_failures_count_as_refusals(mated: list[float], non_mated: list[float]) -> None:
    """Transaction by transaction: of four attempts at each comparison, ``failed`` fail to acquire."""
    fmr, fnmr = metrics.fmr_at(non_mated, 0.5), metrics.fnmr_at(mated, 0.5)
    for failed in range(5):
        false = [score >= 0.5 and attempt >= failed for score in non_mated for attempt in range(4)]
        true = [score >= 0.5 and attempt >= failed for score in mated for attempt in range(4)]
        found = metrics.with_failures(fmr, fnmr, failed / 4)
        assert found.far == pytest.approx(np.mean(false), abs=1e-12)
        assert found.frr == pytest.approx(1 - np.mean(true), abs=1e-12)


@pytest.mark.parametrize("rates", [(-0.1, 0, 0), (0, 1.1, 0), (0, 0, float("nan"))])
def test_failures_need_rates(rates: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        metrics.with_failures(*rates)
