"""Thresholds within groups of similar people, each comparison counted again."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.card import Calibration, Counts
from facekd.errors import UsageError
from facekd.verification import fewest_people, similar_groups

PEOPLE, DIM = 260, 48
#: how much the people of each group have in common
COMMON = {"varied": 0.0, "alike": 0.2, "most alike": 0.35}


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def drawn(seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    random = np.random.default_rng(seed)
    rows, groups = [], []
    for group, common in COMMON.items():
        centre = unit(random.normal(size=DIM))
        rows.append(unit(unit(random.normal(size=(PEOPLE, DIM))) + common * centre))
        groups += [group] * PEOPLE
    return np.concatenate(rows), [f"P{number}" for number in range(len(groups))], groups


def entry(fmr: float, threshold: float) -> Calibration:
    counts = Counts(mated=1, non_mated=100_000, false_matches=1, false_non_matches=0)
    return Calibration(
        fmr=fmr, threshold=threshold, low=0, high=1, data="made up", counts=counts, detector="", aligner=""
    )


def scores_within(rows: np.ndarray, groups: list[str], group: str | None = None) -> np.ndarray:
    own = rows[[one == group or group is None for one in groups]]
    return (own @ own.T)[np.triu_indices(len(own), 1)]


@pytest.fixture(scope="module")
def crowd() -> tuple[np.ndarray, list[str], list[str]]:
    return drawn()


@pytest.mark.parametrize("fmr", [1e-2, 1e-3])
def test_the_threshold_is_that_of_the_worst_group(crowd: tuple, fmr: float) -> None:
    rows, people, groups = crowd
    found = {one.fmr: one for one in similar_groups(rows, people, groups).thresholds()}
    assert set(found) == {1e-2, 5e-3, 2e-3, 1e-3}  # 260 people are too few for the next
    one, within = found[fmr], {group: scores_within(rows, groups, group) for group in COMMON}
    assert (one.group, one.people, one.pairs) == ("most alike", PEOPLE, PEOPLE * (PEOPLE - 1) // 2)
    for group, scores in within.items():
        assert (scores >= one.threshold).mean() <= fmr, group
    # and a little lower it would not hold in the worst
    assert (within["most alike"] >= one.threshold - 0.01).mean() > fmr
    assert one.low < (scores_within(rows, groups) >= one.threshold).mean() < fmr < one.high


def test_the_interval_contains_the_rate_among_other_people(crowd: tuple) -> None:
    covered = []
    for seed in range(20):
        one = similar_groups(*drawn(seed)).thresholds([1e-2])[0]
        random = np.random.default_rng(1000 + seed)
        # the group's centre is that of the draw
        centre = [unit(random_of(seed, place)) for place in range(3)][2]
        rows = unit(unit(random.normal(size=(1500, DIM))) + COMMON["most alike"] * centre)
        rate = ((rows @ rows.T)[np.triu_indices(len(rows), 1)] >= one.threshold).mean()
        covered.append(one.low <= rate <= one.high)
    assert sum(covered) >= 18


def random_of(seed: int, place: int) -> np.ndarray:
    """The centre of the group at ``place`` in `drawn`, before it is normalised."""
    random = np.random.default_rng(seed)
    for _ in range(place):
        random.normal(size=DIM)
        random.normal(size=(PEOPLE, DIM))
    return random.normal(size=DIM)


def test_groups_at_the_thresholds_of_the_card(crowd: tuple) -> None:
    rows, people, groups = crowd
    entries = [entry(0.01, 0.35), entry(0.001, 0.46)]
    measured = similar_groups(rows, people, groups).measured(entries)
    assert [group.name for group in measured] == sorted(COMMON)
    for group in measured:
        scores = scores_within(rows, groups, group.name)
        assert group.pairs == scores.size
        for rate, stated in zip(group.rates, entries, strict=True):
            assert (rate.fmr, rate.threshold) == (stated.fmr, stated.threshold)
            assert rate.rate == pytest.approx((scores >= stated.threshold).mean())
            assert rate.low <= rate.rate <= rate.high
    # far more of them match than are kept
    (low,) = (
        g for g in similar_groups(rows, people, groups).measured([entry(0.01, 0.0)]) if g.name == "alike"
    )
    assert low.rates == ()


def test_a_rate_is_left_out_where_a_smaller_group_is_certainly_worse(crowd: tuple) -> None:
    rows, people, groups = crowd
    # 150 people are enough for 5e-3, not for 1e-3
    kept = [place for place, group in enumerate(groups) if group != "most alike" or place % PEOPLE < 150]
    found = similar_groups(rows[kept], [people[n] for n in kept], [groups[n] for n in kept]).thresholds()
    assert [(one.fmr, one.group) for one in found] == [(1e-2, "most alike"), (5e-3, "most alike")]
    # of a smaller group that is no worse, nothing is lost
    kept = [place for place, group in enumerate(groups) if group != "varied" or place % PEOPLE < 150]
    found = similar_groups(rows[kept], [people[n] for n in kept], [groups[n] for n in kept]).thresholds()
    assert [one.fmr for one in found] == [1e-2, 5e-3, 2e-3, 1e-3]


def test_the_lower_end_is_that_among_varied_people(crowd: tuple) -> None:
    measured = similar_groups(*crowd)
    (one,) = measured.thresholds([1e-3])
    near, above = entry(1e-4, one.threshold - 0.01), entry(1e-6, one.threshold + 0.01)
    for varied, low in (([near], 0.0), ([above.model_copy(update={"low": 1e-9}), near], 1e-9)):
        assert measured.thresholds([1e-3], varied)[0].low == low
    # more varied people than those here do not raise it
    assert measured.thresholds([1e-3], [above.model_copy(update={"low": 0.9})])[0].low == one.low


def test_somebody_under_two_names_does_not_move_the_threshold(crowd: tuple) -> None:
    rows, people, groups = crowd
    before = similar_groups(rows, people, groups).thresholds()
    twice = unit(rows[-3:] + 0.02 * np.random.default_rng(3).normal(size=(3, DIM)))
    after = similar_groups(
        np.concatenate([rows, twice]), [*people, "A", "B", "C"], [*groups, *["most alike"] * 3]
    ).thresholds()
    for one, other in zip(before, after, strict=True):
        assert other.people == one.people
        assert other.threshold == one.threshold


def test_what_will_not_do(crowd: tuple) -> None:
    rows, people, groups = crowd
    with pytest.raises(UsageError, match="1 group"):
        similar_groups(rows[:PEOPLE], people[:PEOPLE], groups[:PEOPLE])
    with pytest.raises(UsageError, match="1 group"):
        similar_groups(rows[: PEOPLE + 1], people[: PEOPLE + 1], groups[: PEOPLE + 1])
    few = [place for place in range(3 * PEOPLE) if place % PEOPLE < 30]
    with pytest.raises(UsageError, match="the largest group has 30 people") as caught:
        similar_groups(rows[few], [people[n] for n in few], [groups[n] for n in few]).thresholds()
    assert f"{fewest_people(1e-2):,} people" in caught.value.fix
    with pytest.raises(UsageError, match="given twice"):
        similar_groups(rows, ["P0"] * len(people), groups)
    same = np.repeat(unit(np.ones((1, DIM))), len(people), axis=0)
    with pytest.raises(UsageError, match="of the comparisons score 1"):
        similar_groups(same, people, groups).thresholds()
