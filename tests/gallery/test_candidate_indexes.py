"""What an index outside the records promises, kept by every engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from facekd.gallery import CandidateIndex, IndexStamp
from facekd.gallery.milvus.connecting import milvus_address
from facekd.gallery.milvus.milvus_index import MilvusIndex, collection_name

DIM = 64
SPACE = "a" * 64
#: a new connection to the index of a gallery, by the gallery's id
Connect = Callable[[str], CandidateIndex]

_galleries = itertools.count(1)


@pytest.fixture(params=["milvus"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Of each engine; adding one means adding its name and a function like `_milvus`."""
    yield from {"milvus": _milvus}[request.param](request)


def _milvus(request: pytest.FixtureRequest) -> Iterator[Connect]:
    address = milvus_address(request.getfixturevalue("milvus_server").uri)
    opened: list[MilvusIndex] = []

    def connected(gallery: str) -> CandidateIndex:
        opened.append(MilvusIndex(address, collection_name(SPACE, gallery), DIM, lambda: None))
        return opened[-1]

    yield connected
    for index in opened:
        with closing(index):
            index.drop()


@pytest.fixture
def gallery() -> str:
    return f"gallery {next(_galleries)}"


@pytest.fixture
def index(connect: Connect, gallery: str) -> CandidateIndex:
    return connect(gallery)


def rows_of(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ids_of(count: int, first: int = 0) -> list[str]:
    return [f"{number:032x}" for number in range(first, first + count)]


def state(name: str, people: int) -> IndexStamp:
    return IndexStamp(SPACE, name, people)


def everybody(index: CandidateIndex, probe: np.ndarray, most: int = 100) -> set[str]:
    return set(index.candidates(probe[None], most)[0])


def test_an_index_that_was_never_built_has_no_stamp(index: CandidateIndex) -> None:
    assert index.stamp() is None


def test_a_built_index_is_found_by_whoever_connects(
    connect: Connect, gallery: str, index: CandidateIndex
) -> None:
    rows, ids = rows_of(10), ids_of(10)
    index.build([(ids[:7], rows[:7]), (ids[7:], rows[7:])], state("first", 10))
    other = connect(gallery)
    assert other.stamp() == index.stamp() == state("first", 10)
    assert [found[0] for found in other.candidates(rows, 3)] == ids
    assert len(other.candidates(rows[:1], 3)[0]) == 3
    assert connect("somebody else's").stamp() is None


def test_likeliest_first(index: CandidateIndex) -> None:
    rows, ids, probes = rows_of(20), ids_of(20), rows_of(4, seed=1)
    index.build([(ids, rows)], state("first", 20))
    order = np.argsort(-(probes @ rows.T), axis=1)
    assert index.candidates(probes, 20) == [[ids[place] for place in row] for row in order]


def test_a_smaller_gallery_is_listed_whole(index: CandidateIndex) -> None:
    index.build([(ids_of(3), rows_of(3))], state("first", 3))
    (found,) = index.candidates(rows_of(1, seed=1), 50)
    assert sorted(found) == ids_of(3)


def test_building_again_forgets_whoever_is_not_there_any_more(index: CandidateIndex) -> None:
    rows, ids = rows_of(10), ids_of(10)
    index.build([(ids, rows)], state("first", 10))
    index.build([(ids[5:], rows[5:])], state("second", 5))
    assert index.stamp() == state("second", 5)
    assert everybody(index, rows[0]) == set(ids[5:])


def test_an_interrupted_build_has_no_stamp(index: CandidateIndex) -> None:
    rows, ids = rows_of(10), ids_of(10)

    def broken() -> Iterator[tuple[list[str], np.ndarray]]:
        yield ids[:5], rows[:5]
        raise KeyboardInterrupt

    for before in (0, 10):
        if before:
            index.build([(ids, rows)], state("first", 10))
        with pytest.raises(KeyboardInterrupt):
            index.build(broken(), state("second", 10))
        assert index.stamp() is None
        # changes do not make a whole index of it
        index.put(ids[5:6], rows[5:6], state("third", 10))
        assert index.stamp() is None
        index.remove(ids[:1], state("fourth", 10))
        assert index.stamp() is None
    index.build([(ids, rows)], state("fifth", 10))
    assert index.stamp() == state("fifth", 10)


def test_people_are_added_and_replaced(connect: Connect, gallery: str, index: CandidateIndex) -> None:
    rows, ids = rows_of(12), ids_of(12)
    index.build([(ids[:10], rows[:10])], state("first", 10))
    other = connect(gallery)
    other.candidates(rows[:1], 1)
    # the first has another row, and there are two more
    index.put([ids[0], *ids[10:]], np.concatenate([-rows[:1], rows[10:]]), state("second", 12))
    assert other.stamp() == state("second", 12)
    assert [found[0] for found in other.candidates(np.concatenate([-rows[:1], rows[1:]]), 1)] == ids
    assert other.candidates(rows[:1], 12)[0][-1] == ids[0]


def test_whoever_was_removed_is_never_found(connect: Connect, gallery: str, index: CandidateIndex) -> None:
    rows, ids = rows_of(30), ids_of(30)
    index.build([(ids, rows)], state("first", 30))
    other = connect(gallery)
    other.candidates(rows[:1], 1)
    index.put(ids[:1], -rows[:1], state("second", 30))
    index.remove(ids[:3], state("third", 27))
    for asked in (other, index, connect(gallery)):
        assert asked.stamp() == state("third", 27)
        for probe in (*rows[:3], -rows[0]):
            assert everybody(asked, probe) == set(ids[3:])
    index.remove(ids[:4], state("fourth", 26))  # some of whom are gone already
    assert other.stamp() == state("fourth", 26)
    index.remove([], state("fifth", 26))
    assert other.stamp() == state("fifth", 26)
    index.put(ids[:1], rows[:1], state("sixth", 27))
    assert other.candidates(rows[:1], 1) == [[ids[0]]]


def test_an_index_of_another_space_is_told_by_its_stamp(index: CandidateIndex) -> None:
    foreign = IndexStamp("b" * 64, "first", 5)
    index.build([(ids_of(5), rows_of(5))], foreign)
    assert index.stamp() == foreign
    index.build([(ids_of(5), rows_of(5, seed=1))], state("first", 5))
    assert index.stamp() == state("first", 5)


def test_lost_people_are_noticed_by_their_number(index: CandidateIndex) -> None:
    """What the stamp says is counted, not remembered."""
    index.build([(ids_of(5), rows_of(5))], state("first", 6))
    assert index.stamp() == state("first", 5)


def test_an_empty_gallery(index: CandidateIndex) -> None:
    index.build([], state("first", 0))
    assert index.stamp() == state("first", 0)
    assert index.candidates(rows_of(3), 5) == [[], [], []]
    index.put(ids_of(1), rows_of(1), state("second", 1))
    assert index.candidates(rows_of(3), 5) == [ids_of(1)] * 3
    index.remove(ids_of(1), state("third", 0))
    assert index.stamp() == state("third", 0)
    assert index.candidates(rows_of(3), 5) == [[], [], []]


def test_nobody_is_searched(index: CandidateIndex) -> None:
    index.build([(ids_of(5), rows_of(5))], state("first", 5))
    assert index.candidates(np.empty((0, DIM), np.float32), 5) == []


def test_recall_among_two_thousand_people(index: CandidateIndex) -> None:
    """Of noisy copies of people the person is always named; of the five most like them, 95 in 100."""
    rows, ids = rows_of(2000), ids_of(2000)
    blocks = [(ids[start : start + 300], rows[start : start + 300]) for start in range(0, 2000, 300)]
    index.build(blocks, state("first", 2000))
    assert index.stamp() == state("first", 2000)
    probes = rows[::7] + 0.7 * rows_of(len(rows[::7]), seed=1)
    expected = np.argsort(-(probes @ rows.T), axis=1)[:, :5]
    found = index.candidates(probes / np.linalg.norm(probes, axis=1, keepdims=True), 5)
    assert [one[0] for one in found] == [ids[row[0]] for row in expected]
    same = sum(
        len({ids[place] for place in row} & set(one)) for row, one in zip(expected, found, strict=True)
    )
    assert same >= 0.95 * expected.size
