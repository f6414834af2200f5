"""Differences of two models against drawing persons literally, one comparison at a time."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification import AllPairs, all_pairs, metrics
from facekd.verification.bootstrap import effective_number, identity_weights
from facekd.verification.differences import accuracy_difference, clustered_error, tar_difference
from facekd.verification.intervals import Interval
from facekd.verification.results.differences import Difference, in_points


def _people(noise: float, people: int = 25, each: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    centres = random.normal(size=(people, 16))
    return centres[labels] + noise * random.normal(size=(labels.size, 16)), labels


def _drawn_tar(pairs: AllPairs, weights: np.ndarray, fmr: float) -> float:
    """TAR of the comparisons of the drawn persons, each copied as often as it was drawn."""
    w = weights.astype(int)
    mated = np.repeat(pairs.mated, w[pairs.mated_people])
    copies = w[pairs.tail_people[:, 0]] * w[pairs.tail_people[:, 1]]
    if not mated.size or not copies.any():
        return float("nan")
    return metrics.tar_at_fmr(mated, np.repeat(pairs.tail, copies), fmr)


def _student_t(values: np.ndarray, value: float, influences: np.ndarray) -> tuple[float, float]:
    from scipy.stats import kurtosis, t

    n = influences.size
    # the influences add up to nothing, so that their kurtosis about 0 is that about their mean
    freedom = min(n - 1, 2 * n / (kurtosis(influences, fisher=False) - 1))
    half = t.ppf(0.975, freedom) * np.sqrt(n / (n - 1)) * values.std(ddof=1)
    return value - half, value + half


def _influences(pairs: AllPairs, fmr: float) -> np.ndarray:
    return pairs.tar_influence(fmr).mated + pairs.tar_influence(fmr).non_mated


def test_tar_difference_of_persons_drawn_literally() -> None:
    teacher, student = (all_pairs(*_people(noise)) for noise in (0.7, 0.9))
    assert teacher.tail.size == teacher.non_mated  # the sets are small: all scores are kept
    found = tar_difference(teacher, student, 0.01)
    values = [_drawn_tar(student, w, 0.01) - _drawn_tar(teacher, w, 0.01) for w in identity_weights(25, 1000)]
    value = student.tar_at(0.01) - teacher.tar_at(0.01)
    moved = _influences(student, 0.01) - _influences(teacher, 0.01)
    low, high = _student_t(np.array(values), value, moved)
    assert found.value == value
    assert found.interval.low == pytest.approx(low, abs=1e-9)
    assert found.interval.high == pytest.approx(high, abs=1e-9)
    own = [p.operating_point(0.01).interval for p in (teacher, student)]
    apart = np.hypot(*[i.high - i.low for i in own])
    assert found.interval.high - found.interval.low < apart


def test_models_that_failed_on_different_persons() -> None:
    """Person 3 is unknown to the teacher, person 7 to the student; the drawn persons are the same."""
    vectors, labels = _people(0.8)
    gone = [np.where((labels == person)[:, None], np.nan, vectors) for person in (3, 7)]
    teacher, student = all_pairs(gone[0], labels), all_pairs(gone[1] + 0, labels)
    assert (3 in teacher.names, 7 in student.names, teacher.names.size) == (False, False, 24)
    found = tar_difference(teacher, student, 0.01)
    values = [
        _drawn_tar(student, np.delete(w, 7), 0.01) - _drawn_tar(teacher, np.delete(w, 3), 0.01)
        for w in identity_weights(25, 1000)
    ]
    moved = np.insert(_influences(student, 0.01), 7, 0) - np.insert(_influences(teacher, 0.01), 3, 0)
    low, high = _student_t(np.array(values), found.value, moved)
    assert found.interval.low == pytest.approx(low, abs=1e-9)
    assert found.interval.high == pytest.approx(high, abs=1e-9)


def _listed(seed: int, count: int = 300, persons: int = 30) -> tuple[np.ndarray, ...]:
    """Decisions of two models on listed pairs: right, right, mated, people."""
    random = np.random.default_rng(seed)
    mated = np.arange(count) < count // 2
    ones = random.integers(persons, size=count)
    step = np.where(mated, 0, random.integers(1, persons, size=count))
    people = np.stack([ones, (ones + step) % persons], axis=1)
    return random.random(count) < 0.95, random.random(count) < 0.85, mated, people


@pytest.mark.parametrize(("seed", "persons"), [(0, 30), (1, 30), (2, 6), (3, 200)])
def test_accuracy_difference_from_every_two_pairs_that_share_a_person(seed: int, persons: int) -> None:
    from scipy.stats import t

    reference, other, mated, people = _listed(seed, persons=persons)
    found = accuracy_difference(reference, other, mated, people)
    gain = other.astype(float) - reference.astype(float)
    off = [
        g - np.mean([h for h, m in zip(gain, mated, strict=True) if m == k])
        for g, k in zip(gain, mated, strict=True)
    ]
    products = [
        a * b
        for a, one in zip(off, people, strict=True)
        for b, two in zip(off, people, strict=True)
        if set(one) & set(two)
    ]
    error = np.sqrt(max(sum(products), sum(a * a for a in off))) / 300
    sizes = np.array([(people == person).any(axis=1).sum() for person in np.unique(people)])
    n = effective_number(sizes)
    half = t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)) * error
    assert found.value == pytest.approx(gain.mean(), abs=1e-12)
    assert found.interval.low == pytest.approx(gain.mean() - half, abs=1e-9)
    assert found.interval.high == pytest.approx(gain.mean() + half, abs=1e-9)


def test_the_error_of_pairs_without_a_common_person_is_that_of_independent_ones() -> None:
    deviations = np.random.default_rng(0).normal(size=50)
    ends = np.arange(100).reshape(50, 2)
    assert clustered_error(deviations, ends) == pytest.approx(np.sqrt((deviations**2).sum()) / 50, abs=1e-12)
    # all of one person: fully dependent, which deviations that add up to nothing hide
    alone = np.zeros((50, 2), np.int64)
    assert clustered_error(np.ones(50), alone) == pytest.approx(1, abs=1e-12)
    assert clustered_error(deviations - deviations.mean(), alone) > 0


def test_the_interval_of_the_accuracy_difference_holds_the_truth() -> None:
    """Persons differ in how hard they are, for both models alike."""
    from scipy.stats import binom

    random, held, sets = np.random.default_rng(4), 0, 200
    for _ in range(sets):
        _, _, mated, people = _listed(int(random.integers(2**32)), 900, 120)
        hard = random.choice([0.02, 0.2], size=120)
        chance = (hard[people[:, 0]] + hard[people[:, 1]]) / 2  # of an error; 0.11 on average
        reference, other = random.random(900) > chance, random.random(900) > 1.2 * chance
        found = accuracy_difference(reference, other, mated, people)
        held += found.interval.low <= -0.2 * 0.11 <= found.interval.high
    # the coverage lies between 92 and 98 %, but for one run in a thousand on either side
    assert binom.ppf(0.001, sets, 0.92) <= held <= binom.ppf(0.999, sets, 0.98)


def test_a_model_against_itself_is_bounded_by_the_number_of_persons() -> None:
    pairs = all_pairs(*_people(0.8))
    right = np.ones(60, bool)
    people = np.stack([np.arange(60) % 20] * 2, axis=1)
    people[30:, 1] = (people[30:, 1] + 1) % 20
    for found, count in (
        (tar_difference(pairs, pairs, 0.01), 25),
        (accuracy_difference(right, right, np.arange(60) < 30, people), 20),
    ):
        assert found.value == 0
        assert (found.interval.low, found.interval.high) == pytest.approx((-3 / count, 3 / count))
        assert found.interval.method == "rule of three over identities"
        assert found.told("teacher").startswith("level with teacher (95 % interval")


def test_too_few_persons_to_draw_from() -> None:
    with pytest.raises(UsageError, match="at least two"):
        accuracy_difference(np.ones(3, bool), np.ones(3, bool), np.ones(3, bool), np.zeros((3, 2), int))


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (-0.003, -0.005, -0.001, "0.30 points below teacher (95 % interval 0.10 to 0.50)"),
        (0.003, 0.001, 0.005, "0.30 points above teacher (95 % interval 0.10 to 0.50)"),
        (-0.003, -0.007, 0.001, "0.30 points below teacher (95 % interval 0.70 below to 0.10 above)"),
        (0.0, -0.001, 0.001, "level with teacher (95 % interval 0.10 below to 0.10 above)"),
        (-0.002, -0.004, 0.0, "0.20 points below teacher (95 % interval 0.00 to 0.40)"),
    ],
)
def test_differences_in_words(value: float, low: float, high: float, told: str) -> None:
    assert Difference("accuracy", value, Interval(low, high, "t")).told("teacher") == told
    assert told.startswith(in_points(value, "teacher"))
