"""Probes against templates: each score counted again one by one, and the bootstrap's weights by repeating
rows."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.bootstrap import identity_bootstrap
from facekd.verification.influence_functions import Influence
from facekd.verification.photo_scores import all_pairs
from facekd.verification.probe_scores import against, false_matches


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _people(seed: int, persons: int, each: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(persons, 8))
    whose = np.repeat(np.arange(persons), each)
    random.shuffle(whose)
    return _unit(centres[whose] + noise * random.normal(size=(whose.size, 8))), whose


def _one_by_one(probes, people, templates, enrolled, same_photos=False):
    """Mated scores with person, and non-mated ones with both persons, in two loops."""
    mated, non_mated = [], []
    for i, (probe, person) in enumerate(zip(probes, people, strict=True)):
        for j, (template, other) in enumerate(zip(templates, enrolled, strict=True)):
            if np.isnan(probe).all() or np.isnan(template).all() or (same_photos and i == j):
                continue
            score = float(np.clip(probe @ template, -1, 1))
            if person == other:
                mated.append((score, person))
            else:
                non_mated.append((score, person, other))
    return mated, non_mated


@pytest.fixture
def gallery() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """30 people with 6 photos each, of whom 20 have one template; a few rows are missing."""
    probes, people = _people(0, 30, 6)
    templates, enrolled = _people(1, 20, 1, 0.2)
    probes[[3, 40]] = np.nan
    templates[5] = np.nan
    return probes, people, templates, enrolled


def test_against_two_loops(gallery) -> None:
    found = against(*gallery)
    mated, non_mated = _one_by_one(*gallery)
    assert found.non_mated == len(non_mated) == found.tail.size
    np.testing.assert_allclose(np.sort(found.mated), sorted(s for s, _ in mated), atol=1e-6)
    np.testing.assert_allclose(found.tail, sorted((s for s, _, _ in non_mated), reverse=True), atol=1e-6)
    by_score = sorted(non_mated, reverse=True)[:50]
    assert [tuple(found.names[pair]) for pair in found.tail_people[:50]] == [(a, b) for _, a, b in by_score]
    sizes = {person: sum(p == person for _, p in mated) for person in found.names}
    assert found.mated_sizes().tolist() == [sizes[person] for person in found.names]
    assert found.probes.sum() == 178
    assert found.templates.sum() == 19


@pytest.mark.parametrize("fmr", [0.01, 0.1, 0.3])
def test_operating_points_against_metrics(gallery, fmr: float) -> None:
    found = against(*gallery)
    mated, non_mated = _one_by_one(*gallery)
    yes, no = [s for s, _ in mated], [s for s, _, _ in non_mated]
    threshold = metrics.threshold_at_fmr(yes, no, fmr)
    assert found.threshold_at(fmr) == pytest.approx(threshold, abs=1e-6)
    assert found.tar_at(fmr) == pytest.approx(metrics.tar_at_fmr(yes, no, fmr))
    assert found.fmr_at(threshold) == pytest.approx(metrics.fmr_at(no, threshold))
    point = found.operating_point(fmr)
    assert point.tar == pytest.approx(metrics.tar_at_fmr(yes, no, fmr))
    assert point.false_matches == sum(s >= point.threshold for s in no)
    assert point.interval.low < point.tar < point.interval.high


def test_weights_are_as_good_as_repeated_photos(gallery) -> None:
    """Drawing a person w times weighs mated comparisons w and non-mated ones w * w': the same as a list in
    which every comparison is repeated that often."""
    found = against(*gallery)
    weights = np.random.default_rng(4).integers(0, 4, found.names.size).astype(float)
    mated, non_mated = _one_by_one(*gallery)
    yes = [s for s, p in mated for _ in range(int(weights[p]))]
    no = [s for s, p, q in non_mated for _ in range(int(weights[p] * weights[q]))]
    for fmr in (0.01, 0.1):
        expected = metrics.tar_at_fmr(yes, no, fmr)
        assert found.drawn_tar(fmr)(weights) == pytest.approx(expected)
    assert found.drawn_tar(0.1)(np.ones(found.names.size)) == pytest.approx(found.tar_at(0.1))


def test_the_curve_is_that_of_the_metrics(gallery) -> None:
    found = against(*gallery)
    mated, non_mated = _one_by_one(*gallery)
    yes, no = np.array([s for s, _ in mated]), np.array([s for s, _, _ in non_mated])
    curve = found.curve()
    assert curve.thresholds[-1] == np.inf
    assert (np.diff(curve.fmr) <= 0).all()
    for place in range(0, curve.thresholds.size, 37):
        # the curve's thresholds are float32 scores, to which these may be equal but for rounding
        threshold = curve.thresholds[place] - 1e-6
        assert curve.fmr[place] == pytest.approx((no >= threshold).mean())
        assert curve.fnmr[place] == pytest.approx((yes < threshold).mean())


def test_only_the_highest_are_kept_of_many(gallery) -> None:
    probes, people = _people(0, 60, 40)
    templates, enrolled = _people(1, 60, 9, 0.2)
    found = against(probes, people, templates, enrolled)
    scores = np.clip(probes @ templates.T, -1, 1)
    every = np.sort(scores[people[:, None] != enrolled].astype(float))[::-1]
    assert every.size == found.non_mated == 2400 * 59 * 9
    assert found.tail.size == 1_000_000
    np.testing.assert_allclose(found.tail, every[:1_000_000], atol=1e-6)
    for one, other in found.tail_people[::50_000]:
        assert found.names[one] != found.names[other]
    place = 123_456
    one, other = found.names[found.tail_people[place]]
    theirs = scores[np.ix_(people == one, enrolled == other)]
    assert np.abs(theirs - found.tail[place]).min() < 1e-6
    assert found.threshold_at(0.01) == pytest.approx(every[int(every.size * 0.01)], abs=1e-5)
    with pytest.raises(UsageError, match="kept for an FMR"):
        found.threshold_at(0.1)
    assert found.fmr_at(-1.0) is None
    assert found.curve().fmr.max() < 1_000_000 / every.size
    assert against(*gallery).fmr_at(-1.0) == 1.0


def test_two_embeddings_of_the_same_photos() -> None:
    """With equal embeddings all ordered pairs are all pairs twice."""
    rows, people = _people(3, 25, 4)
    rows[7] = np.nan
    found, once = against(rows, people, rows, people, same_photos=True), all_pairs(rows, people)
    assert (found.mated.size, found.non_mated) == (2 * once.mated.size, 2 * once.non_mated)
    np.testing.assert_allclose(np.sort(found.mated), np.sort(np.repeat(once.mated, 2)), atol=1e-6)
    np.testing.assert_allclose(found.tail[::2][:40], once.tail[:40], atol=1e-6)
    assert found.tar_at(0.01) == pytest.approx(once.tar_at(0.01))
    other, _ = _people(3, 25, 4, 1.5)
    other[9] = np.nan
    mated, non_mated = _one_by_one(rows, people, other, people, same_photos=True)
    crossed = against(rows, people, other, people, same_photos=True)
    np.testing.assert_allclose(np.sort(crossed.mated), sorted(s for s, _ in mated), atol=1e-6)
    assert crossed.non_mated == len(non_mated)


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.8, 1.1])
def test_who_is_confused_with_whom(gallery, threshold: float) -> None:
    found, names = false_matches(*gallery, threshold), against(*gallery).names
    expected: dict[tuple[int, int], list[float]] = {}
    for score, person, other in _one_by_one(*gallery)[1]:
        if score >= threshold:
            expected.setdefault((person, other), []).append(score)
    assert [tuple(names[pair]) for pair in found.people] == sorted(expected)
    assert found.counts.tolist() == [len(expected[pair]) for pair in sorted(expected)]
    np.testing.assert_allclose(found.highest, [max(expected[p]) for p in sorted(expected)], atol=1e-6)


def test_intervals_at_a_fixed_threshold(gallery) -> None:
    """Around the rates, wider than if comparisons were independent; a bound where nothing was seen."""
    from scipy.stats import binomtest

    scores = against(*gallery)
    threshold = scores.threshold_at(0.05)
    matches = false_matches(*gallery, threshold)
    interval = scores.fmr_interval(matches)
    false = int((scores.tail >= threshold).sum())
    independent = binomtest(false, scores.non_mated).proportion_ci(method="wilson")
    assert interval.low < independent.low < false / scores.non_mated < independent.high < interval.high
    fnmr = scores.fnmr_interval(threshold)
    assert fnmr.low < metrics.fnmr_at(scores.mated, threshold) < fnmr.high
    nobody = false_matches(*gallery, 1.1)
    bound = scores.fmr_interval(nobody)
    assert (bound.low, bound.high) == (0, 3 / scores.identity_pairs)
    assert scores.fnmr_interval(-1.0).high == pytest.approx(3 / np.unique(scores.mated_people).size)


def test_the_interval_of_the_fmr_is_that_of_the_drawn_persons(gallery) -> None:
    """Every comparison weighed in two loops, the influences by drawing a person a little more often."""
    scores = against(*gallery)
    found = false_matches(*gallery, scores.threshold_at(0.05))
    persons = scores.names.size

    def fmr(weights: np.ndarray) -> float:
        false = total = 0.0
        for p in range(weights.size):
            others = np.arange(weights.size) != p
            total += weights[p] * scores.probes[p] * (weights * scores.templates)[others].sum()
        for (one, other), count in zip(found.people, found.counts, strict=True):
            false += weights[one] * weights[other] * count
        return false / total

    steps = [np.ones(persons) + 1e-4 * one for one in np.eye(persons)]
    by_person = np.array([fmr(up) - fmr(2 - up) for up in steps]) / 2e-4
    influence = Influence(np.zeros(persons), by_person, np.empty(0))
    (want,) = identity_bootstrap(lambda weights: [fmr(weights)], persons, influences=[influence])
    interval = scores.fmr_interval(found)
    assert (interval.low, interval.high) == pytest.approx((want.low, want.high), rel=1e-6)


def test_the_influence_on_tar_moves_it_that_way(gallery) -> None:
    """TAR jumps from score to score, so its influence is compared with the mean of many draws."""
    scores = against(*gallery)
    influence, random = scores.tar_influence(0.1), np.random.default_rng(6)
    tar, at_all = scores.drawn_tar(0.1), scores.tar_at(0.1)
    moved, told = [], []
    for _ in range(400):
        weights = random.multinomial(30, np.full(30, 1 / 30)).astype(float)
        moved.append(tar(weights) - at_all)
        told.append((weights - 1) @ (influence.mated + influence.non_mated))
    assert np.corrcoef(moved, told)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("people", "enrolled", "told"),
    [
        ([0, 0], [0, 0], "no non-mated comparison"),
        ([0, 1], [2, 3], "no mated comparison"),
        ([0, 1, 2], [0, 1], r"\[N, D\] and labels \[N\]"),
    ],
)
def test_what_cannot_be_compared(people: list[int], enrolled: list[int], told: str) -> None:
    rows = _unit(np.eye(2))
    with pytest.raises(UsageError, match=told):
        against(rows, people, rows, enrolled)


def test_lengths_that_differ() -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        against(_unit(np.eye(3)), [0, 1, 2], _unit(np.eye(2)), [0, 1])


def test_nothing_acquired() -> None:
    with pytest.raises(UsageError, match="no non-mated"):
        against(np.full((2, 3), np.nan), [0, 1], _unit(np.eye(3)), [0, 1, 2])
