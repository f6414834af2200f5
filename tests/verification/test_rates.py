"""Rates of drawn persons, found from running sums, against the curve of the weighted comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.verification import metrics
from facekd.verification.intervals import identity_weights
from facekd.verification.rates import pair_rates, pair_statistics

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
    np.testing.assert_array_equal(sizes, [(ones == name).sum() for name in names])
    for weights in [np.ones(names.size), *identity_weights(names.size, 5, seed)]:
        copies = np.zeros(6, int)
        copies[names] = weights
        drawn_yes, drawn_no = np.repeat(yes, copies[ones]), np.repeat(no, copies[others].prod(1))
        found = statistics(weights)
        if not drawn_yes.size or not drawn_no.size:
            assert np.isnan(found).all()
            continue
        curve = metrics.roc(drawn_yes, drawn_no)
        tars = [metrics.tar_of(curve, fmr) for fmr in FMRS]
        assert found == pytest.approx([metrics.auc_of(curve), metrics.eer_of(curve), *tars], abs=1e-9)


def test_intervals_of_listed_pairs_hold_their_rates() -> None:
    random = np.random.default_rng(0)
    ones, others = np.arange(400) % 80, random.integers(80, size=(3100, 2))
    others = others[others[:, 0] != others[:, 1]]
    yes, no = random.normal(2, 1, 400), random.normal(0, 1, len(others))
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
    assert "does not say who is who" in rates.caveats[0]
