"""Confidence bands, derived again score by score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from facekd.verification import all_pairs
from facekd.verification.bootstrap import identity_bootstrap
from facekd.verification.confidence_bands import REPLICATES, all_pairs_band, listed_band
from facekd.verification.kept_scores import HIGHEST_FMR
from facekd.verification.pair_rates import pair_statistics
from facekd.verification.photo_scores import AllPairs

PEOPLE, PHOTOS = 40, 5


def _rows(noise: float, people: int = PEOPLE) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    who = np.repeat(np.arange(people), PHOTOS)
    rows = random.normal(size=(people, 24))[who] + random.normal(0, noise, (who.size, 24))
    return rows.astype(np.float32), who


class Every:
    """Every comparison one by one."""

    def __init__(self, rows: np.ndarray, who: np.ndarray) -> None:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        one, other = np.triu_indices(len(who), 1)
        scores = np.clip((unit[one] * unit[other]).sum(axis=1), -1, 1)
        same = who[one] == who[other]
        self.mated, self.mated_person = scores[same], who[one[same]]
        order = np.argsort(-scores[~same])
        self.non_mated = scores[~same][order]
        self.one, self.other = who[one[~same]][order], who[other[~same]][order]

    def tar(self, fmr: float, weights: np.ndarray) -> float:
        """Each comparison as often as its persons were drawn, the loosest threshold that keeps the rate."""
        false = weights[self.one] * weights[self.other]
        allowed = np.searchsorted(np.cumsum(false), false.sum() * fmr * (1 + 1e-12), side="right")
        weight = weights[self.mated_person]
        return float(weight[self.mated > self.non_mated[allowed]].sum() / weight.sum())


@pytest.fixture(scope="module")
def pairs() -> AllPairs:
    return all_pairs(*_rows(1.1))


def test_the_all_pairs_band_is_the_interval_at_each_fmr(pairs: AllPairs) -> None:
    every = Every(*_rows(1.1))
    band = all_pairs_band(pairs)
    assert band is not None
    assert band.fmr[0] * pairs.non_mated == pytest.approx(30)
    assert band.fmr[-1] == pytest.approx(HIGHEST_FMR)
    for place in (0, 12, 24):
        fmr = float(band.fmr[place])
        (want,) = identity_bootstrap(
            lambda w, fmr=fmr: [every.tar(fmr, w)],
            PEOPLE,
            REPLICATES,
            influences=[pairs.tar_influence(fmr)],
        )
        assert (band.low[place], band.high[place]) == pytest.approx((want.low, want.high), abs=1e-9)
        assert band.low[place] < pairs.tar_at(fmr) < band.high[place]


def test_no_errors_are_bounded_by_the_number_of_persons() -> None:
    band = all_pairs_band(all_pairs(*_rows(0.01, people=60)))
    assert band is not None
    assert band.low == pytest.approx(1 - 3 / 60)
    assert (band.high == 1).all()


def test_too_few_comparisons_have_no_band() -> None:
    assert all_pairs_band(all_pairs(*_rows(1.0, people=10))) is None
    assert listed_band(np.ones(5), np.zeros(30), None) is None


def test_a_band_without_persons_is_wilsons() -> None:
    random = np.random.default_rng(3)
    yes, no = random.normal(1.5, 1, 300), random.normal(0, 1, 900)
    band = listed_band(yes, no, None)
    assert band is not None
    assert band.method == "Wilson"
    for place in (0, 10, 20):
        allowed = int(no.size * band.fmr[place] * (1 + 1e-12))
        hits = int((yes > np.sort(no)[::-1][allowed]).sum())
        want = binomtest(hits, yes.size).proportion_ci(method="wilson")
        assert (band.low[place], band.high[place]) == pytest.approx((want.low, want.high), abs=1e-12)
    assert (band.low[-1], band.high[-1]) == pytest.approx((1 - 1 / (1 + yes.size / 3.8414588), 1))


def test_the_listed_band_is_the_interval_at_each_fmr() -> None:
    random = np.random.default_rng(4)
    ones, others = np.repeat(np.arange(50), 4), random.integers(50, size=(800, 2))
    others = others[others[:, 0] != others[:, 1]]
    effect = random.normal(0, 0.8, 50)
    yes = 2 + effect[ones] + random.normal(0, 0.6, ones.size)
    no = random.normal(0, 1, len(others))
    band = listed_band(yes, no, (ones, others))
    assert band is not None
    assert band.method == "bootstrap over identities"

    def tar(weights: np.ndarray, fmr: float) -> list[float]:
        mated, non_mated = weights[ones], weights[others[:, 0]] * weights[others[:, 1]]
        for threshold in np.sort(np.concatenate([yes, no])):
            if non_mated[no >= threshold].sum() <= non_mated.sum() * (fmr + 1e-12):
                return [float(mated[yes >= threshold].sum() / mated.sum())]
        return [0.0]

    place = 5
    fmr = float(band.fmr[place])
    influences = pair_statistics(yes, no, ones, others, [fmr])[0].influences()[2:]
    want = identity_bootstrap(lambda w: tar(w, fmr), 50, REPLICATES, influences=influences)[0]
    assert (band.low[place], band.high[place]) == pytest.approx((want.low, want.high), abs=1e-9)


def test_one_person_gives_wilsons_band() -> None:
    random = np.random.default_rng(5)
    band = listed_band(
        random.normal(1, 1, 40), random.normal(0, 1, 100), (np.zeros(40, int), np.zeros((100, 2), int))
    )
    assert band is not None
    assert band.method == "Wilson"
