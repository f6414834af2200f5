"""Pairs embedded in two ways, against plain loops and against one way alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facekd.errors import Misfit
from facekd.verification import all_pairs
from facekd.verification.asymmetric_pairs import Kept, judge_two_sided
from facekd.verification.bootstrap import difference_bootstrap
from facekd.verification.differences import tar_difference
from facekd.verification.probe_scores import against
from facekd.verification.protocols import PairList, open_protocol

PEOPLE, EACH, DIM = 40, 4, 8


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> PairList:
    lines = ["path1,path2,label"]
    for person in range(PEOPLE):
        for n in range(EACH):
            lines.append(f"P{person}/{n}.jpg,P{person}/{(n + 1) % EACH}.jpg,1")
            lines.append(f"P{person}/{n}.jpg,P{(person + 1 + n) % PEOPLE}/{n}.jpg,0")
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    path.write_text("\n".join(lines))
    return open_protocol("pairs", path)


def _rows(protocol: PairList, seed: int, noise: float = 0.8) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(PEOPLE, DIM))
    whose = np.array([int(name.split("/")[0][1:]) for name in protocol.photos])
    rows = centres[whose] + noise * random.normal(size=(len(whose), DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_first_photo_by_the_one_and_the_second_by_the_other(protocol: PairList) -> None:
    first, second = _rows(protocol, 1), _rows(protocol, 2)
    first[4], second[9] = np.nan, np.nan
    found = judge_two_sided(protocol, first, second).result
    place = {name: index for index, name in enumerate(protocol.photos)}
    for pair, score in zip(protocol.pairs, found.scores, strict=True):
        expected = float(first[place[pair.first]] @ second[place[pair.second]])
        assert score == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert np.isnan(found.scores).sum() == sum(
        place[p.first] == 4 or place[p.second] == 9 for p in protocol.pairs
    )
    assert found.failed == (protocol.photos[4], protocol.photos[9])


def test_one_way_twice_is_that_way_alone(protocol: PairList) -> None:
    rows = _rows(protocol, 1)
    rows[4] = np.nan
    both, alone = judge_two_sided(protocol, rows, rows).result, protocol.evaluate(lambda _: rows)
    np.testing.assert_array_equal(both.scores, alone.scores)
    assert both.folds == alone.folds
    assert both.rates == alone.rates
    assert both.failed == alone.failed


def test_lengths_that_differ(protocol: PairList) -> None:
    rows = _rows(protocol, 1)
    with pytest.raises(Misfit, match="dimension 8 and 7"):
        judge_two_sided(protocol, rows, rows[:, :7])


def test_both_directions_hold_the_same_pairs(protocol: PairList) -> None:
    first, second = _rows(protocol, 1), _rows(protocol, 2)
    one, other = (judge_two_sided(protocol, *s).everyone for s in ((first, second), (second, first)))
    np.testing.assert_allclose(np.sort(one.mated), np.sort(other.mated), atol=1e-6)
    np.testing.assert_allclose(one.tail, other.tail, atol=1e-6)


def test_folders_that_name_nobody(tmp_path: Path) -> None:
    rows = [f"{n}.jpg,{n + 1}.jpg,{n % 2}" for n in range(40)]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *rows]))
    protocol = open_protocol("pairs", tmp_path / "pairs.csv")
    embeddings = np.random.default_rng(0).normal(size=(41, 5)).astype(np.float32)
    found = judge_two_sided(protocol, embeddings, embeddings)
    assert found.everyone is None
    assert found.result.everyone_points == ()
    assert "do not name people" in found.result.no_all_pairs


def test_embeddings_are_kept_in_the_order_of_models(protocol: PairList) -> None:
    kept = Kept.of(protocol)
    for seed in (1, 2):
        result = kept.evaluate(lambda _, seed=seed: _rows(protocol, seed))
        np.testing.assert_array_equal(result.scores, protocol.evaluate(lambda _: kept.rows[-1]).scores)
    assert len(kept.rows) == 2
    np.testing.assert_array_equal(kept.rows[1], _rows(protocol, 2))


class TestDifference:
    def test_by_repeating_comparisons(self, protocol: PairList) -> None:
        """The point from the bare rates; the interval from a bootstrap that lists every comparison as
        often as its persons were drawn."""
        from facekd.verification import metrics

        # so few that no score is left out of the tail
        people = protocol.people[:136]
        good, poor = _rows(protocol, 1, 0.5)[:136], _rows(protocol, 2, 1.2)[:136]
        alone = all_pairs(poor, people)
        assert alone.tail.size == alone.non_mated
        crossed = against(good, people, poor, people, same_photos=True)
        found = tar_difference(alone, crossed, 0.01)
        assert found.value == pytest.approx(crossed.tar_at(0.01) - alone.tar_at(0.01))

        def by_lists(weights: np.ndarray) -> list[float]:
            tars = []
            for pairs in (alone, crossed):
                yes = np.repeat(pairs.mated, weights[pairs.mated_people].astype(int))
                each = (weights[pairs.tail_people[:, 0]] * weights[pairs.tail_people[:, 1]]).astype(int)
                tars.append(metrics.tar_at_fmr(yes, np.repeat(pairs.tail, each), 0.01))
            return [tars[1] - tars[0]]

        influence = crossed.tar_influence(0.01) - alone.tar_influence(0.01)
        expected = difference_bootstrap(by_lists, 34, influences=[influence])[0]
        assert found.interval.low == pytest.approx(expected.low, abs=1e-9)
        assert found.interval.high == pytest.approx(expected.high, abs=1e-9)

    def test_no_difference_is_bounded(self, protocol: PairList) -> None:
        rows = _rows(protocol, 1, 0.01)
        crossed = against(rows, protocol.people, rows, protocol.people, same_photos=True)
        found = tar_difference(all_pairs(rows, protocol.people), crossed, 0.01)
        assert found.value == 0
        assert (found.interval.low, found.interval.high) == (-3 / PEOPLE, 3 / PEOPLE)
