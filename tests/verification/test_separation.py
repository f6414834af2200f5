"""Separations and their differences against comparisons weighed one by one, and how often they mislead."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification import separation_of, shortfall
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


def _scores(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cosines of all comparisons [P] and the two people of each [P, 2]."""
    pairs = list(combinations(range(labels.size), 2))
    cosines = [rows[i] @ rows[j] / np.sqrt((rows[i] @ rows[i]) * (rows[j] @ rows[j])) for i, j in pairs]
    return np.array(cosines), labels[np.array(pairs)]


def _weighted(scores: np.ndarray, people: np.ndarray, weights: np.ndarray) -> float:
    """The separation if comparison k occurs ``weights`` [P] times."""
    same = people[:, 0] == people[:, 1]
    mated = np.average(scores[same], weights=weights[same])
    non_mated = np.average(scores[~same], weights=weights[~same])
    spread = np.sqrt(np.average((scores[~same] - non_mated) ** 2, weights=weights[~same]))
    return float((mated - non_mated) / spread)


def _derivative(scores: np.ndarray, people: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """That of the separation by the weight of each comparison [P]."""
    ups = 1 + step * np.eye(scores.size)
    return np.array([_weighted(scores, people, up) - _weighted(scores, people, 2 - up) for up in ups]) / (
        2 * step
    )


def test_the_separation_is_that_of_all_comparisons() -> None:
    (rows,), labels = _photos(0.3)
    scores, people = _scores(rows, labels)
    literal = _weighted(scores, people, np.ones(scores.size))
    assert separation_of(rows, labels).value == pytest.approx(literal, rel=1e-5)


@pytest.mark.parametrize(("seed", "within"), [(0, True), (1, False)])
def test_the_error_sums_over_comparisons_that_share_a_person(seed: int, within: bool) -> None:
    """Aronow's variance by its definition: the sum, over all pairs of comparisons that share a person, of the
    products of their contributions to the difference; at least the sum over comparisons of the same two
    people."""
    (right, wrong), labels = _photos(0.2, 0.5, people=12, seed=seed)
    found = shortfall(separation_of(right, labels), separation_of(wrong, labels))
    people = _scores(right, labels)[1]
    added = _derivative(*_scores(right, labels)) - _derivative(*_scores(wrong, labels))
    shared = (people[:, None, :, None] == people[None, :, None, :]).any(axis=(2, 3))
    alike = (people[:, None] == people[None]).all(axis=2)
    sums = [added @ shared @ added, added @ alike @ added]
    assert (sums[0] < sums[1]) == within
    assert found.error == pytest.approx(np.sqrt(max(sums) * 12 / 11), rel=1e-4)
    of_person = np.array([added[(people == person).any(axis=1)].sum() for person in range(12)])
    kurtosis = 12 * (of_person**4).sum() / (of_person**2).sum() ** 2
    assert found.freedom == pytest.approx(min(11, 24 / (kurtosis - 1)), rel=1e-3)
    assert found.people == 12


def test_the_error_is_the_spread_of_new_people() -> None:
    found = []
    for seed in range(150):
        (right, wrong), labels = _photos(0.2, 0.5, seed=seed)
        found.append(shortfall(separation_of(right, labels), separation_of(wrong, labels)))
    spread = np.std([one.value for one in found], ddof=1)
    # 150 sets know a spread to 6 %
    assert np.sqrt(np.mean([one.error**2 for one in found])) == pytest.approx(spread, rel=0.18)


def test_a_shared_difficulty_cancels() -> None:
    (right, wrong), labels = _photos(0.2, 0.3)
    apart = [separation_of(rows, labels) for rows in (right, wrong)]
    none = np.zeros(PEOPLE)
    zero = Separation(0.0, Influence(none, none, np.zeros(PEOPLE * (PEOPLE - 1) // 2)))
    unpaired = np.hypot(*[shortfall(one, zero).error for one in apart])
    assert shortfall(*apart).error < 0.7 * unpaired


def test_the_p_value_is_students() -> None:
    from scipy.stats import t

    lacks = Shortfall(0.3, 0.1, 11.5, 24)
    assert lacks.p_value(1) == pytest.approx(t.sf(3, 11.5))
    assert lacks.p_value(11) == pytest.approx(11 * t.sf(3, 11.5))
    assert Shortfall(0.01, 0.1, 11.5, 24).p_value(11) == 1
    assert Shortfall(-0.3, 0.1, 11.5, 24).p_value(1) == pytest.approx(t.cdf(3, 11.5))


def test_without_a_difference_there_is_no_answer() -> None:
    (rows,), labels = _photos(0.3)
    alike = shortfall(separation_of(rows, labels), separation_of(rows, labels))
    assert (alike.value, alike.error, alike.p_value(11)) == (0, 0, 1)
    assert alike.people_needed(11, 0.05) is None
    assert Shortfall(-0.1, 0.1, 20, 24).people_needed(11, 0.05) is None


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
        best = max(apart, key=lambda one: one.value)
        called += shortfall(best, apart[0]).p_value(5) < 0.05
    # no more than twice its standard error above one in twenty
    assert called <= sets * 0.05 + 2 * np.sqrt(sets * 0.05 * 0.95)


def test_a_constant_output_separates_nobody() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 3)
    constant = np.ones((24, 16)) * random.uniform(0.5, 2, (24, 1))
    alike = separation_of(constant, labels)
    assert alike.value == 0
    (rows,), labels = _photos(0.3, people=8)
    apart = separation_of(rows, labels)
    assert shortfall(apart, separation_of(np.ones(rows.shape), labels)).p_value(11) < 1e-3


def test_two_people_are_needed() -> None:
    rows = np.eye(3)
    for labels in (["ann"] * 3, ["ann", "bob", "eve"]):
        with pytest.raises(UsageError, match="two people"):
            separation_of(rows, labels)
