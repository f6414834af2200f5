"""Rates of drawn persons, found from running sums, against the curve of the weighted comparisons."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.verification import costs, metrics
from facekd.verification.bootstrap import identity_weights, multiple_of, replicated
from facekd.verification.drawn_rates import WholeStatistics
from facekd.verification.influence_functions import PairSums, d_prime_influence
from facekd.verification.pair_rates import pair_rates, pair_statistics

FMRS = [0.01, 0.3, 0.7, 1.0]
SCORE = st.integers(-3, 4).map(lambda n: n / 4)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.tuples(SCORE, st.integers(0, 5)), min_size=1, max_size=12),
    st.lists(st.tuples(SCORE, st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=15),
    st.integers(0, 1000),
)
def test_rates_of_drawn_persons(mated: list[tuple], non_mated: list[tuple], seed: int) -> None:
    yes, ones = np.array([m[0] for m in mated]), np.array([m[1] for m in mated])
    no = np.array([n[0] for n in non_mated])
    others = np.array([(n[1], (n[1] + n[2]) % 6) for n in non_mated])
    statistics, sizes = pair_statistics(yes, no, ones, others, FMRS)
    names = np.unique(np.append(ones, others))
    sums = PairSums(np.searchsorted(names, ones), np.searchsorted(names, others), names.size)
    whole = WholeStatistics(metrics.levels_of(yes, no), sums, FMRS)
    np.testing.assert_array_equal(sizes, [(ones == name).sum() for name in names])
    for weights in [np.ones(names.size), *identity_weights(names.size, 5, seed)]:
        copies = np.zeros(6, int)
        copies[names] = weights
        drawn_yes, drawn_no = np.repeat(yes, copies[ones]), np.repeat(no, copies[others].prod(1))
        found = statistics(weights)
        if not drawn_yes.size or not drawn_no.size:
            assert np.isnan(found).all()
            assert np.isnan(whole(weights)).all()
            assert len(whole(weights)) == len(found) + 3
            continue
        curve = metrics.roc(drawn_yes, drawn_no)
        tars = [metrics.tar_of(curve, fmr) for fmr in FMRS]
        assert found == pytest.approx([metrics.auc_of(curve), metrics.eer_of(curve), *tars], abs=1e-9)
        more = [
            metrics.partial_auc(drawn_yes, drawn_no, 0.01),
            costs.min_dcf(drawn_yes, drawn_no),
            metrics.d_prime(drawn_yes, drawn_no),
        ]
        assert whole(weights) == pytest.approx([*found, *more], abs=1e-9)
    # together, those without a class among the others
    drawn = np.array([*identity_weights(names.size, 5, seed), np.zeros(names.size)])
    for some in (statistics, whole):
        together, alone = some.of_each(drawn), np.array([some(weights) for weights in drawn])
        np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)
        assert np.isnan(together[-1]).all()


@pytest.mark.parametrize("listed", [20, 3000, 20_000])
def test_replicates_do_not_depend_on_the_blocks(listed: int) -> None:
    random = np.random.default_rng(1)
    ones, others = np.arange(listed) % 40, np.stack([np.arange(listed) % 40, np.arange(listed) // 40 % 40], 1)
    others[:, 1] += others[:, 0] == others[:, 1]
    yes, no = random.normal(2, 1, listed), random.normal(0, 1, listed)
    whole = WholeStatistics(metrics.levels_of(yes, no), PairSums(ones, others, 41), [0.1])
    assert whole.block == {20: 64, 3000: 21, 20_000: 1}[listed]
    found = replicated(whole, 41, replicates=100)
    kept = [rates for weights in identity_weights(41, 100) if not np.isnan(rates := whole(weights)).any()]
    np.testing.assert_allclose(found, kept, rtol=1e-12, atol=1e-12)
    assert len(found) > 50


def _listed() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Normal scores of pairs of 80 persons who do not differ."""
    random = np.random.default_rng(0)
    ones, others = np.arange(400) % 80, random.integers(80, size=(3100, 2))
    others = others[others[:, 0] != others[:, 1]]
    return random.normal(2, 1, 400), random.normal(0, 1, len(others)), ones, others


def test_intervals_of_listed_pairs_hold_their_rates() -> None:
    yes, no, ones, others = _listed()
    rates = pair_rates(yes, no, ones, others)
    (point,) = rates.points
    assert rates.caveats == ()
    for value, interval in (
        (metrics.auc(yes, no), rates.auc.interval),
        (metrics.eer(yes, no), rates.eer.interval),
        (metrics.tar_at_fmr(yes, no, 0.01), point.interval),
    ):
        assert interval.low < value < interval.high
        assert interval.method == "bootstrap over identities"
    # the pairs were drawn without regard to persons: so are Wilson's intervals, but for the threshold
    from facekd.verification.intervals import wilson

    binomial = wilson(round(point.tar * 400), 400)
    assert 1 < (point.interval.high - point.interval.low) / (binomial.high - binomial.low) < 2


def test_lists_without_persons_say_so() -> None:
    rates = pair_rates(np.array([0.9, 0.8]), np.linspace(0, 0.5, 3000), None, None)
    assert rates.auc.interval is rates.eer.interval is None
    assert rates.points[0].interval.method == "Wilson"
    assert "does not name identities" in rates.caveats[0]
    assert rates.partial_auc is not None
    assert rates.partial_auc.interval is rates.min_dcf.interval is rates.d_prime.interval is None
    assert "the other numbers have none" in rates.caveats[0]


def test_partial_auc_min_dcf_and_d_prime_by_their_definitions() -> None:
    from sklearn.metrics import roc_auc_score

    yes, no, ones, others = _listed()
    told = json.loads(json.dumps(pair_rates(yes, no, ones, others).to_dict()))
    truth = np.r_[np.ones(yes.size), np.zeros(no.size)]
    area = roc_auc_score(truth, np.r_[yes, no], max_fpr=0.01)
    assert told["partial_auc"]["value"] == pytest.approx(area, abs=1e-9)
    cost = min(0.01 * (yes < t).mean() + 0.99 * (no >= t).mean() for t in [*yes, *no, np.inf]) / 0.01
    assert told["min_dcf"]["value"] == pytest.approx(cost, abs=1e-9)
    distance = (yes.mean() - no.mean()) / np.sqrt((yes.var() + no.var()) / 2)
    assert told["d_prime"]["value"] == pytest.approx(distance, abs=1e-9)
    for name, method in (
        ("partial_auc", "bootstrap over identities"),
        ("min_dcf", "bootstrap over identities, bias corrected"),
        ("d_prime", "bootstrap over identities, Student's t"),
    ):
        interval = told[name]["interval"]
        assert interval["low"] < told[name]["value"] < interval["high"]
        assert interval["method"] == method
    assert (told["partial_auc"]["highest_fmr"], told["partial_auc"]["insufficient"]) == (0.01, None)
    assert (told["min_dcf"]["p_target"], told["min_dcf"]["c_miss"], told["min_dcf"]["c_fa"]) == (0.01, 1, 1)


def test_intervals_from_sets_of_drawn_persons() -> None:
    """The drawings made one by one, each pair as often as its persons were drawn."""
    from scipy.special import expit, logit

    yes, no, ones, others = _listed()
    rates = pair_rates(yes, no, ones, others)
    sums, levels = PairSums(ones, others, 80), metrics.levels_of(yes, no)
    distances, least = [], []
    for weights in identity_weights(80):
        count = weights.astype(int)
        drawn_yes, drawn_no = np.repeat(yes, count[ones]), np.repeat(no, count[others].prod(1))
        distances.append(metrics.d_prime(drawn_yes, drawn_no))
        least.append(costs.min_dcf(drawn_yes, drawn_no))
    half = multiple_of(d_prime_influence(levels, sums)) * np.std(distances, ddof=1)
    found = rates.d_prime.interval
    assert (found.low, found.high) == pytest.approx((rates.d_prime.value - half, rates.d_prime.value + half))
    # a chosen threshold flatters: drawings flatter once more, and the interval makes up for it
    found, flattered = rates.min_dcf.interval, logit(rates.min_dcf.value) - logit(least).mean()
    assert flattered > 0
    middle = expit((logit(found.low) + logit(found.high)) / 2)
    assert logit(middle) == pytest.approx(logit(rates.min_dcf.value) + flattered, abs=1e-6)


def test_bounds_where_no_error_was_seen() -> None:
    """Three errors among the persons may have gone unseen, and all of them may be false matches, which
    cost most: 99 times as much as a missed mated comparison, and they stand above all of these."""
    ones = np.arange(300) % 100
    others = np.stack([np.arange(3000) % 100, (np.arange(3000) + 7) % 100], axis=1)
    rates = pair_rates(np.linspace(0.6, 0.9, 300), np.linspace(0, 0.5, 3000), ones, others)
    assert (rates.partial_auc.value, rates.min_dcf.value) == (1, 0)
    assert (rates.partial_auc.interval.low, rates.partial_auc.interval.high) == (0, 1)
    assert (rates.min_dcf.interval.low, rates.min_dcf.interval.high) == (0, 1)
    ones, others = np.arange(30_000), others * 300
    rates = pair_rates(np.linspace(0.6, 0.9, 30_000), np.linspace(0, 0.5, 3000), ones, others)
    assert rates.min_dcf.interval.high == pytest.approx(99 * 3 / 30_000)
    worst = metrics.partial_auc(np.ones(9999), np.repeat([2.0, 0.0], [1, 9999]), 0.01)
    assert 1 - rates.partial_auc.interval.low == pytest.approx(1 - worst)


def test_too_few_for_a_partial_auc() -> None:
    told = pair_rates(np.array([0.9, 0.8]), np.linspace(0, 0.5, 1000), None, None).to_dict()["partial_auc"]
    assert told["value"] is told["interval"] is None
    assert told["insufficient"].startswith("insufficient data: 10 false matches expected, 30 needed")


def test_scores_without_a_spread() -> None:
    ones, others = np.arange(10), np.stack([np.arange(10), np.roll(np.arange(10), 1)], axis=1)
    rates = pair_rates(np.full(10, 0.9), np.full(10, 0.1), ones, others)
    assert rates.d_prime.value == np.inf
    assert rates.to_dict()["d_prime"] == {"value": None, "interval": None}
    assert rates.auc.interval is not None
    same = pair_rates(np.full(10, 0.3), np.full(10, 0.3), ones, others)
    assert (same.d_prime.value, same.d_prime.interval.low, same.d_prime.interval.high) == (0, 0, 0)
    assert same.min_dcf.value == 1
