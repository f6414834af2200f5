"""Thresholds and score maps against literal counting, SciPy's optimiser and pooling by hand."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import minimize

from facekd.card.contract import IsotonicCurve, LogisticCurve
from facekd.errors import UsageError
from facekd.verification import (
    Conditions,
    all_pairs,
    calibration_at,
    fit_map,
    log_likelihood_ratio,
    probability,
)
from facekd.verification.bootstrap import identity_bootstrap
from facekd.verification.calibration import check_enough
from facekd.verification.costs import cllr, least_cllr, min_cllr, weighted_cllr
from facekd.verification.influence_functions import Influence
from facekd.verification.score_map_fit import (
    KINDS,
    LEVELS,
    ScoreCounts,
    count_scores,
    deal,
    fit_curve,
    held_out_cost,
)

CONDITIONS = Conditions("drawn people", "mtcnn", "a-1", date="2025-01-01")


def people(count: int, photos: int, spread: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows [N, 32] of persons [N]."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), photos)
    rows = random.normal(size=(count, 32))[labels] + spread * random.normal(size=(labels.size, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def scored(rows: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, float]]:
    """Persons and cosine of every pair of photos, one after the other."""
    return [(labels[i], labels[j], float(rows[i] @ rows[j])) for i, j in combinations(range(len(rows)), 2)]


def coarse(rows: np.ndarray) -> np.ndarray:
    """Rows whose products are exactly levels of a score map, in whatever order they are summed."""
    return np.round(rows * 64) / 64


def pooled(shares: list[float], weights: list[float]) -> list[float]:
    """Adjacent violators pooled by hand: merge two neighbours until none falls."""
    blocks = [([i], share, weight) for i, (share, weight) in enumerate(zip(shares, weights, strict=True))]
    place = 0
    while place < len(blocks) - 1:
        (left, a, u), (right, b, v) = blocks[place], blocks[place + 1]
        if a <= b:
            place += 1
            continue
        blocks[place : place + 2] = [(left + right, (a * u + b * v) / (u + v), u + v)]
        place = max(place - 1, 0)
    return [share for members, share, _ in blocks for _ in members]


class TestThreshold:
    def test_rates_and_intervals_are_those_of_the_drawn_persons(self) -> None:
        rows, labels = people(60, 6)
        entry = calibration_at(all_pairs(rows, labels), 1e-2, CONDITIONS)
        everyone = scored(rows, labels)
        one, other, score = (np.array(column) for column in zip(*everyone, strict=True))
        mated = one == other
        assert entry.fnmr == pytest.approx((score[mated] < entry.threshold).mean())
        assert entry.counts.false_matches == (score[~mated] >= entry.threshold).sum()
        match = score >= entry.threshold

        def rates(weights: np.ndarray) -> list[float]:
            w = np.where(mated, weights[one], weights[one] * weights[other])
            return [w[~mated & match].sum() / w[~mated].sum(), w[mated & ~match].sum() / w[mated].sum()]

        # both rates are smooth in the weights: their influences are differences
        steps = [np.ones(60) + 1e-4 * one for one in np.eye(60)]
        by_person = np.array([np.subtract(rates(up), rates(2 - up)) for up in steps]) / 2e-4
        influences = [Influence(column, np.zeros(60), np.empty(0)) for column in by_person.T]
        fmr, fnmr = identity_bootstrap(rates, 60, influences=influences)
        assert (entry.low, entry.high) == pytest.approx((fmr.low, fmr.high), rel=1e-6)
        assert (entry.fnmr_low, entry.fnmr_high) == pytest.approx((fnmr.low, fnmr.high), rel=1e-6)
        assert entry.fnmr_low < entry.fnmr < entry.fnmr_high
        assert (entry.data, entry.detector, entry.aligner, entry.date) == (
            "drawn people", "mtcnn", "a-1", "2025-01-01",
        )  # fmt: skip

    def test_without_an_error_the_persons_bound_the_rate(self) -> None:
        rows, labels = people(60, 6, spread=0.1)
        # a person with one photo has no mated comparison and bounds nothing
        pairs = all_pairs(np.vstack([rows, -rows[:1]]), np.append(labels, 99))
        found = pairs.fnmr_interval(0.5)
        assert (found.low, found.high) == (0, pytest.approx(3 / 60))
        found = pairs.fnmr_interval(1.5)
        assert (found.low, found.high) == (pytest.approx(1 - 3 / 60), 1)

    def test_too_little_data_is_refused_with_what_it_needs(self) -> None:
        pairs = all_pairs(*people(20, 5))
        assert pairs.non_mated == 4750
        assert calibration_at(pairs, 1e-2, CONDITIONS).fmr == 1e-2
        with pytest.raises(UsageError, match=r"FMR 0\.001: insufficient data, 4\.75 .* 4,750") as caught:
            calibration_at(pairs, 1e-3, CONDITIONS)
        assert "30,000" in str(caught.value.fix)
        check_enough(30_000, 1e-3)
        with pytest.raises(UsageError):
            check_enough(29_999, 1e-3)


class TestCurves:
    def test_logistic_is_a_line(self) -> None:
        curve = LogisticCurve(slope=20, offset=-5)
        assert log_likelihood_ratio(curve, 0.5) == 5
        np.testing.assert_allclose(log_likelihood_ratio(curve, [0, 0.25, 1]), [-5, 0, 15])

    def test_isotonic_is_linear_between_knots_and_flat_outside(self) -> None:
        curve = IsotonicCurve(scores=(0.2, 0.4), probabilities=(0.1, 0.8))
        found = probability(log_likelihood_ratio(curve, [-1, 0.2, 0.3, 0.4, 1]))
        np.testing.assert_allclose(found, [0.1, 0.1, 0.45, 0.8, 0.8], rtol=1e-12)

    def test_even_odds_and_the_ends(self) -> None:
        np.testing.assert_allclose(probability([0, np.log(3), -np.inf, np.inf]), [0.5, 0.75, 0, 1])

    @pytest.mark.parametrize(
        "knots",
        [
            {"scores": (0.1, 0.2), "probabilities": (0.5,)},
            {"scores": (0.2, 0.1), "probabilities": (0.1, 0.5)},
            {"scores": (0.1, 0.2), "probabilities": (0.5, 0.1)},
            {"scores": (0.1, 0.2), "probabilities": (0.5, 1.0)},
            {"scores": (), "probabilities": ()},
        ],
    )
    def test_knots_that_are_no_curve(self, knots: dict) -> None:
        with pytest.raises(ValidationError):
            IsotonicCurve(**knots)

    def test_a_falling_line_is_no_curve(self) -> None:
        with pytest.raises(ValidationError):
            LogisticCurve(slope=-1, offset=0)


class TestFit:
    random = np.random.default_rng(7)
    scores = np.sort(random.uniform(-0.2, 0.8, 200))
    mated = random.binomial(5, 1 / (1 + np.exp(-12 * (scores - 0.4))))
    non_mated = random.binomial(40, 1 / (1 + np.exp(15 * (scores - 0.25))))

    def test_logistic_is_the_maximum_likelihood_of_platts_targets(self) -> None:
        """Every comparison on its own, minimised by SciPy with its own derivatives."""
        s = np.concatenate([np.repeat(self.scores, self.mated), np.repeat(self.scores, self.non_mated)])
        yes, no = self.mated.sum(), self.non_mated.sum()
        target = np.concatenate([np.full(yes, (yes + 1) / (yes + 2)), np.full(no, 1 / (no + 2))])
        weight = np.concatenate([np.full(yes, 1 / yes), np.full(no, 1 / no)])

        def loss(line: np.ndarray) -> float:
            z = line[0] * s + line[1]
            return float((weight * (target * np.logaddexp(0, -z) + (1 - target) * np.logaddexp(0, z))).sum())

        expected = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14})
        curve = fit_curve("logistic", self.scores, self.mated, self.non_mated)
        assert isinstance(curve, LogisticCurve)
        assert (curve.slope, curve.offset) == pytest.approx(tuple(expected.x), rel=1e-6)

    def test_isotonic_is_pooling_by_hand(self) -> None:
        used = self.mated + self.non_mated > 0
        m, n = self.mated[used].astype(float), self.non_mated[used].astype(float)
        for counts in (m, n):
            counts[[0, -1]] += 1
        m, n = m / m.sum(), n / n.sum()
        expected = pooled(list(m / (m + n)), list(m + n))
        curve = fit_curve("isotonic", self.scores, self.mated, self.non_mated)
        found = probability(log_likelihood_ratio(curve, self.scores[used]))
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert len(curve.scores) < used.sum()

    def test_counts_of_two_kinds_weigh_the_same(self) -> None:
        """Ten times as many non-mated comparisons are not ten times the prior: the log-odds stay."""
        once = fit_curve("logistic", self.scores, self.mated * 1000, self.non_mated * 1000)
        more = fit_curve("logistic", self.scores, self.mated * 1000, self.non_mated * 10_000)
        assert (more.slope, more.offset) == pytest.approx((once.slope, once.offset), rel=1e-3)

    def test_normal_scores_give_their_true_ratio(self) -> None:
        """Two normal distributions of one spread: the ratio is a line that is known."""
        mean, spread = 0.5, 0.12
        density = lambda centre: np.exp(-(((LEVELS - centre) / spread) ** 2) / 2)  # noqa: E731
        mated, non_mated = (np.round(2e5 * density(centre)) for centre in (mean, 0.0))
        curve = fit_curve("logistic", LEVELS, mated, non_mated)
        assert curve.slope == pytest.approx(mean / spread**2, rel=1e-3)
        assert curve.offset == pytest.approx(-(mean**2) / (2 * spread**2), rel=1e-3)

    @pytest.mark.parametrize("kind", KINDS)
    def test_scores_that_do_not_overlap_stay_finite(self, kind) -> None:
        curve = fit_curve(kind, [0.1, 0.2, 0.6, 0.7], [0, 0, 5, 5], [50, 50, 0, 0])
        ratios = log_likelihood_ratio(curve, [0.1, 0.2, 0.6, 0.7])
        assert np.isfinite(ratios).all()
        assert (ratios[:2] < 0).all()
        assert (ratios[2:] > 0).all()

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("scores", "mated", "non_mated", "told"),
        [
            ([0.1, 0.2], [0, 0], [1, 1], "no mated"),
            ([0.1, 0.2], [1, 1], [0, 0], "no non-mated"),
            ([0.3], [5], [9], "do not score above"),
            ([0.1, 0.5], [9, 1], [1, 9], "do not score above"),
        ],
    )
    def test_what_gives_no_curve(self, kind, scores, mated, non_mated, told: str) -> None:
        with pytest.raises(UsageError, match=told):
            fit_curve(kind, scores, mated, non_mated)


class TestCost:
    def test_of_single_ratios(self) -> None:
        """Summed one comparison at a time, in bits."""
        mated, non_mated = np.array([2.0, -1.0]), np.array([-3.0, 0.5, 0.0])
        expected = (
            np.mean([np.log2(1 + np.exp(-r)) for r in [2, 2, -1]])
            + np.mean([np.log2(1 + np.exp(r)) for r in [-3, -3, -3, 0]])
        ) / 2
        assert weighted_cllr(mated, [2, 1], non_mated, [3, 0, 1]) == pytest.approx(expected, rel=1e-12)

    def test_agrees_with_the_cost_of_a_list_of_ratios(self) -> None:
        random = np.random.default_rng(5)
        ratios, mated, non_mated = (
            random.normal(size=30),
            random.integers(0, 4, 30),
            random.integers(0, 4, 30),
        )
        ratios.sort()
        one, other = np.repeat(ratios, mated), np.repeat(ratios, non_mated)
        assert weighted_cllr(ratios, mated, ratios, non_mated) == pytest.approx(cllr(one, other), rel=1e-12)
        assert least_cllr(mated, non_mated) == pytest.approx(min_cllr(one, other), rel=1e-12)

    def test_saying_nothing_costs_one_bit(self) -> None:
        assert weighted_cllr(np.zeros(3), [1, 1, 1], np.zeros(2), [4, 4]) == pytest.approx(1)

    def test_infinite_evidence_that_is_right_costs_nothing(self) -> None:
        ratios = np.array([-np.inf, np.inf])
        assert weighted_cllr(ratios, [0, 3], ratios, [3, 0]) == 0

    def test_the_least_is_that_of_pooling_by_hand(self) -> None:
        random = np.random.default_rng(2)
        for _ in range(20):
            mated, non_mated = random.integers(0, 4, 12), random.integers(0, 9, 12)
            mated[-1] = non_mated[0] = 1
            used = mated + non_mated > 0
            m, n = mated[used] / mated.sum(), non_mated[used] / non_mated.sum()
            p = np.array(pooled(list(m / (m + n)), list(m + n)))
            # a share of 0 or 1 has comparisons of one kind only, and they are sure
            expected = (-(m[p > 0] @ np.log2(p[p > 0])) - n[p < 1] @ np.log2(1 - p[p < 1])) / 2
            assert least_cllr(mated, non_mated) == pytest.approx(expected, abs=1e-12)

    def test_no_rising_curve_is_better_than_the_least(self) -> None:
        least = least_cllr(TestFit.mated, TestFit.non_mated)
        for kind in KINDS:
            curve = fit_curve(kind, TestFit.scores, TestFit.mated, TestFit.non_mated)
            ratios = log_likelihood_ratio(curve, TestFit.scores)
            assert weighted_cllr(ratios, TestFit.mated, ratios, TestFit.non_mated) > least

    def test_perfect_and_useless_scores(self) -> None:
        assert least_cllr(np.array([0, 0, 7]), np.array([5, 5, 0])) == 0
        assert least_cllr(np.array([3]), np.array([4])) == pytest.approx(1)
        assert least_cllr(np.array([9, 0]), np.array([0, 9])) == pytest.approx(1)


class TestFolds:
    def test_every_fold_can_be_judged(self) -> None:
        numbers = np.repeat(np.arange(14), [1, 1, 9, 2, 2, 3, 2, 2, 2, 1, 2, 2, 4, 1])
        folds = deal(numbers)
        photos = np.bincount(numbers)
        assert set(folds) == {0, 1, 2, 3, 4}
        assert all((photos[folds == fold] >= 2).sum() >= 2 for fold in range(5))

    def test_few_persons_make_fewer_folds(self) -> None:
        assert set(deal(np.repeat(np.arange(4), 2))) == {0, 1}
        with pytest.raises(UsageError, match="only 3"):
            deal(np.array([0, 0, 1, 1, 2, 2, 3]))

    def test_counts_are_those_of_a_loop_over_pairs(self) -> None:
        rows, labels = people(11, 3)
        order = np.random.default_rng(1).permutation(33)
        rows, labels = coarse(rows[order]), labels[order]
        folds = deal(labels)
        counts = count_scores(rows, labels, folds)
        mated, non_mated = np.zeros_like(counts.mated), np.zeros_like(counts.non_mated)
        for one, other, score in scored(rows, labels):
            level = int(np.abs(LEVELS - score).argmin())
            a, b = sorted((folds[one], folds[other]))
            (mated if one == other else non_mated)[(a,) if one == other else (a, b)][level] += 1
        np.testing.assert_array_equal(counts.mated, mated)
        np.testing.assert_array_equal(counts.non_mated, non_mated)

    def test_no_person_is_judged_by_a_map_of_their_own(self) -> None:
        rows, labels = people(10, 4)
        folds = deal(labels)
        counts = count_scores(rows, labels, folds)
        for fold in range(counts.folds):
            outside = folds[labels] != fold
            alone = count_scores(rows[outside], labels[outside], np.where(folds == fold, 0, folds))
            for found, expected in zip(counts.without(fold), alone.all(), strict=True):
                np.testing.assert_array_equal(found, expected)
            inside = count_scores(rows[~outside], labels[~outside], np.zeros_like(folds))
            for found, expected in zip(counts.within(fold), inside.all(), strict=True):
                np.testing.assert_array_equal(found, expected)

    def test_held_out_cost_is_that_of_the_folds_one_by_one(self) -> None:
        rows, labels = people(20, 4, spread=1.4)
        rows = coarse(rows)
        folds = deal(labels)
        costs, least = held_out_cost(count_scores(rows, labels, folds))
        everyone = [(folds[a], folds[b], a == b, s) for a, b, s in scored(rows, labels)]
        for kind in KINDS:
            bits: dict[bool, list[float]] = {True: [], False: []}
            for fold in range(5):
                known = [(same, s) for a, b, same, s in everyone if fold not in (a, b)]
                levels = np.unique([s for _, s in known])
                tallies = [Counter(s for same, s in known if same == which) for which in (True, False)]
                counts = [[tally[level] for level in levels] for tally in tallies]
                curve = fit_curve(kind, levels, *counts)
                for a, b, same, s in everyone:
                    if a == b == fold:
                        ratio = float(log_likelihood_ratio(curve, s))
                        bits[bool(same)].append(np.log2(1 + np.exp(-ratio if same else ratio)))
            expected = (np.mean(bits[True]) + np.mean(bits[False])) / 2
            assert costs[kind] == pytest.approx(expected, rel=1e-9)
        assert least < min(costs.values())


class TestMap:
    def test_takes_the_kind_that_costs_less(self) -> None:
        for spread in (0.5, 1.0, 1.6):
            found = fit_map(*people(40, 5, spread))
            assert found.curve.kind == min(found.cllrs, key=found.cllrs.get)
            assert found.min_cllr <= found.cllr < 1
            assert found.folds == 5

    def test_failures_to_acquire_take_no_part(self) -> None:
        rows, labels = people(30, 5)
        failed = np.vstack([rows, np.full((2, 32), np.nan, np.float32)])
        assert fit_map(failed, np.append(labels, [0, 99])) == fit_map(rows, labels)

    def test_people_may_have_names(self) -> None:
        rows, labels = people(30, 5)
        assert fit_map(rows, [f"P{label:02d}" for label in labels]) == fit_map(rows, labels)

    def test_a_model_that_tells_nobody_apart_has_no_map(self) -> None:
        with pytest.raises(UsageError, match="do not score above"):
            fit_map(np.tile(np.float32([[0.6, 0.8]]), (40, 1)), np.repeat(np.arange(8), 5))

    def test_few_people_are_refused(self) -> None:
        with pytest.raises(UsageError, match="two usable photos"):
            fit_map(*people(3, 5))


def test_counts_of_everybody() -> None:
    mated, non_mated = np.ones((2, 3), np.int64), np.zeros((2, 2, 3), np.int64)
    non_mated[0, 1] = 5
    counts = ScoreCounts(mated, non_mated)
    np.testing.assert_array_equal(counts.all()[0], [2, 2, 2])
    np.testing.assert_array_equal(counts.all()[1], [5, 5, 5])
    np.testing.assert_array_equal(counts.within(0)[1], [0, 0, 0])
    np.testing.assert_array_equal(counts.without(1)[0], [1, 1, 1])
