"""The order of a run."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.training.data.sampler import EpochOrder, PeopleOrder


def test_every_epoch_shows_every_crop_once_and_views_take_turns() -> None:
    order = EpochOrder(crops=10, count=2, seed=4, mirror=True)
    views = [order.at(position) for position in range(40)]
    for epoch in range(4):
        part = views[10 * epoch : 10 * epoch + 10]
        assert sorted(view.crop for view in part) == list(range(10))
        assert {view.number for view in part} == {epoch % 2}
    assert [v.crop for v in views[:10]] != [v.crop for v in views[10:20]]
    assert 5 < sum(view.mirrored for view in views) < 35
    # a resumed run begins in the middle, with a new object
    again = EpochOrder(crops=10, count=2, seed=4, mirror=True)
    assert [again.at(position) for position in range(17, 40)] == views[17:]


def test_online_views_never_repeat_and_mirrors_can_be_off() -> None:
    order = EpochOrder(crops=3, count=0, seed=0, mirror=False)
    assert [order.at(p).number for p in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert not any(order.at(p).mirrored for p in range(9))


def test_crops_come_in_proportion_to_their_weights() -> None:
    weights = np.array([4.0, 1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.5])  # together 10: crop 0 is due four times
    order = EpochOrder(crops=10, count=2, seed=4, mirror=True, weights=weights * 7)
    views = [order.at(position) for position in range(4000)]
    counts = [np.bincount([v.crop for v in views[10 * e : 10 * e + 10]], minlength=10) for e in range(400)]
    assert all((np.floor(weights) <= c).all() and (c <= np.ceil(weights)).all() for c in counts)
    assert np.abs(np.mean(counts, axis=0) - weights).max() < 0.1
    assert {view.number for view in views[10:20]} == {1}
    assert len({view.crop for view in views if view.mirrored}) == 10
    again = EpochOrder(crops=10, count=2, seed=4, mirror=True, weights=weights)
    assert [again.at(position) for position in range(1237, 1300)] == views[1237:1300]
    even = EpochOrder(crops=10, count=2, seed=4, mirror=True, weights=np.ones(10))
    assert sorted(even.at(position).crop for position in range(10)) == list(range(10))


LABELS = np.array([2, 0, 0, 1, 2, -1, 0, 2, 3, 0, 3, -1])


def test_batches_of_people_hold_as_many_crops_of_each() -> None:
    order = PeopleOrder(LABELS, people=2, each=3, count=4, seed=1, mirror=True)
    views = [order.at(position) for position in range(600)]
    people: list[int] = []
    for batch in range(100):
        part = views[6 * batch : 6 * batch + 6]
        found, counts = np.unique(LABELS[[view.crop for view in part]], return_counts=True)
        assert counts.tolist() == [3, 3]
        people += found.tolist()
        for person in set(found.tolist()) - {3}:  # the only one with fewer than three
            crops = [view.crop for view in part if LABELS[view.crop] == person]
            assert len(set(crops)) == 3
    # 1 has one crop; the others come up as often as each other, whatever the number of their crops
    assert set(people) == {0, 2, 3}
    assert all(50 < people.count(person) < 85 for person in (0, 2, 3))
    assert {view.number for view in views} == {0, 1, 2, 3}
    again = PeopleOrder(LABELS, people=2, each=3, count=4, seed=1, mirror=True)
    assert [again.at(position) for position in range(100, 600)] == views[100:]


def test_fresh_views_of_people_and_too_few_of_them() -> None:
    order = PeopleOrder(LABELS, people=3, each=2, count=0, seed=1, mirror=False)
    views = [order.at(position) for position in range(60)]
    assert [view.number for view in views] == [position // 6 for position in range(60)]
    assert not any(view.mirrored for view in views)
    with pytest.raises(UsageError, match="only 3 identities have two crops"):
        PeopleOrder(LABELS, people=4, each=2, count=0, seed=1, mirror=False)
