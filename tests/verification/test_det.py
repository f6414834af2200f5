"""The DET curve against the normal quantile, and against scikit-learn's rates."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.det import DET_RATES, det_of, normal_deviate


def test_normal_deviates_are_quantiles() -> None:
    found = normal_deviate(DET_RATES)
    np.testing.assert_allclose(found, [NormalDist().inv_cdf(rate) for rate in DET_RATES], atol=1e-9)
    np.testing.assert_array_equal(normal_deviate([[0, 0.5, 1]]), [[-np.inf, 0, np.inf]])
    for wrong in (-0.1, 1.2, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            normal_deviate([0.5, wrong])


@pytest.mark.parametrize("tied", [False, True])
def test_det_agrees_with_scikit_learn(tied: bool) -> None:
    from sklearn.metrics import det_curve

    random = np.random.default_rng(0)
    mated, non_mated = random.normal(1, 1, 300), random.normal(-1, 1, 500)
    if tied:
        mated, non_mated = mated.round(1), non_mated.round(1)
    truth = np.r_[np.ones(300), np.zeros(500)]
    fmr, fnmr, _ = det_curve(truth, np.r_[mated, non_mated])
    inside = (fmr > 0) & (fmr < 1) & (fnmr > 0) & (fnmr < 1)
    found = det_of(metrics.roc(mated, non_mated))
    np.testing.assert_allclose(found.fmr, fmr[inside], atol=1e-9)
    np.testing.assert_allclose(found.fnmr, fnmr[inside], atol=1e-9)
    np.testing.assert_allclose(found.x, [NormalDist().inv_cdf(rate) for rate in found.fmr], atol=1e-9)
    np.testing.assert_allclose(found.y, [NormalDist().inv_cdf(rate) for rate in found.fnmr], atol=1e-9)


def test_normal_scores_make_a_line() -> None:
    # quantiles of N(2, 1) and N(0, 1): fnmr = Phi(t - 2), fmr = Phi(-t), so x + y = -2
    ranks = (np.arange(4000) + 0.5) / 4000
    normal = np.array([NormalDist().inv_cdf(rank) for rank in ranks])
    found = det_of(metrics.roc(normal + 2, normal))
    middle = (np.abs(found.x) < 1.5) & (np.abs(found.y) < 1.5)
    assert middle.sum() > 1000
    np.testing.assert_allclose((found.x + found.y)[middle], -2, atol=0.01)


def test_without_errors_there_are_no_points() -> None:
    assert det_of(metrics.roc([0.9], [0.1])).x.size == 0
    assert det_of(metrics.roc([0.5], [0.5])).x.size == 0
