"""d' and differences of it against persons taken away or drawn literally, and how often they mislead."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification import metrics, separation_of, shortfall
from facekd.verification.bootstrap import identity_weights
from facekd.verification.influence_functions import Influence
from facekd.verification.separation import POWER, Separation, Shortfall

PEOPLE = 24


def _photos(*noises: float, people: int = PEOPLE, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Embeddings [N, 24] of the same photos under as many readings, and whose they are: person k has two to
    five. Every reading has its own noise of that strength, and one that all share."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), 2 + np.arange(people) % 4)
    shared = random.normal(size=(people, 24))[labels] + 0.6 * random.normal(size=(labels.size, 24))
    return [shared + noise * random.normal(size=shared.shape) for noise in noises], labels


def _scores(rows: np.ndarray, labels: np.ndarray) -> tuple[list[float], list[float]]:
    mated, non_mated = [], []
    for (one, mine), (other, theirs) in combinations(zip(rows, labels, strict=True), 2):
        score = one @ other / np.sqrt((one @ one) * (other @ other))
        (mated if mine == theirs else non_mated).append(score)
    return mated, non_mated


def test_d_prime_is_that_of_all_comparisons() -> None:
    (rows,), labels = _photos(0.3)
    literal = metrics.d_prime(*_scores(rows, labels))
    assert separation_of(rows, labels).d_prime == pytest.approx(literal, rel=1e-5)


def test_the_error_is_that_of_leaving_persons_out() -> None:
    """The jackknife proper, each d' computed anew from the photos that are left."""
    (right, wrong), labels = _photos(0.2, 0.5)
    found = shortfall(separation_of(right, labels), separation_of(wrong, labels))
    without = []
    for person in range(PEOPLE):
        left = labels != person
        one, other = (separation_of(rows[left], labels[left]).d_prime for rows in (right, wrong))
        without.append(one - other)
    error = np.sqrt((PEOPLE - 1) ** 2 / PEOPLE * np.var(without, ddof=1))
    assert found.error == pytest.approx(error, rel=0.1)
    assert found.people == PEOPLE
    assert found.value == separation_of(right, labels).d_prime - separation_of(wrong, labels).d_prime


def test_the_error_is_at_least_that_of_drawing_persons() -> None:
    """A person drawn twice is two people: none of its photos is compared with its copy's."""
    (right, wrong), labels = _photos(0.2, 0.5)
    one, other = np.triu_indices(labels.size, 1)
    same = labels[one] == labels[other]
    scores = []
    for rows in (right, wrong):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        scores.append((unit @ unit.T)[one, other])
    values = []
    for drawn in identity_weights(PEOPLE, 400):
        weights = np.where(same, drawn[labels[one]], drawn[labels[one]] * drawn[labels[other]])
        high, low = (
            metrics.weighted_d_prime(of[same], weights[same], of[~same], weights[~same]) for of in scores
        )
        values.append(high - low)
    found = shortfall(separation_of(right, labels), separation_of(wrong, labels))
    # 400 replicates know a spread to 3.5 %
    assert found.error == pytest.approx(np.std(values, ddof=1), rel=0.15)


def test_a_shared_difficulty_cancels() -> None:
    (right, wrong), labels = _photos(0.2, 0.3)
    apart = [separation_of(rows, labels) for rows in (right, wrong)]
    zero = Separation(0.0, Influence(np.zeros(PEOPLE), np.zeros(PEOPLE), np.empty(0)))
    unpaired = np.hypot(*[shortfall(one, zero).error for one in apart])
    assert shortfall(*apart).error < 0.7 * unpaired


def test_the_p_value_is_students() -> None:
    from scipy.stats import t

    lacks = Shortfall(0.3, 0.1, 11.5, 24)
    assert lacks.chance(1) == pytest.approx(t.sf(3, 11.5))
    assert lacks.chance(11) == pytest.approx(11 * t.sf(3, 11.5))
    assert Shortfall(0.01, 0.1, 11.5, 24).chance(11) == 1
    assert Shortfall(-0.3, 0.1, 11.5, 24).chance(1) == pytest.approx(t.cdf(3, 11.5))


def test_without_a_difference_there_is_no_answer() -> None:
    (rows,), labels = _photos(0.3)
    alike = shortfall(separation_of(rows, labels), separation_of(rows, labels))
    assert (alike.value, alike.error, alike.chance(11)) == (0, 0, 1)
    assert alike.people_needed(11, 0.05) is None
    assert Shortfall(-0.1, 0.1, 20, 24).people_needed(11, 0.05) is None
    assert Shortfall(float("inf"), 0.1, 20, 24).chance(11) == 1


def test_so_many_people_show_it_with_the_stated_chance() -> None:
    from scipy.stats import norm

    needed = Shortfall(0.1, 0.08, 23, 24).people_needed(11, 0.05)
    assert needed is not None
    error = 0.08 * np.sqrt(24 / needed)
    assert norm.sf(norm.isf(0.05 / 11) - 0.1 / error) == pytest.approx(POWER, abs=0.01)


def test_equally_good_readings_are_seldom_called_worse() -> None:
    """Of six readings that differ by chance only, the first is the right one."""
    sets, called = 100, 0
    for seed in range(sets):
        readings, labels = _photos(*[0.3] * 6, people=16, seed=seed)
        apart = [separation_of(rows, labels) for rows in readings]
        best = max(apart, key=lambda one: one.d_prime)
        called += shortfall(best, apart[0]).chance(5) < 0.05
    # no more than twice its standard error above one in twenty
    assert called <= sets * 0.05 + 2 * np.sqrt(sets * 0.05 * 0.95)


def test_two_people_are_needed() -> None:
    rows = np.eye(3)
    for labels in (["ann"] * 3, ["ann", "bob", "eve"]):
        with pytest.raises(UsageError, match="two people"):
            separation_of(rows, labels)
