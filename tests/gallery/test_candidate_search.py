"""A search by an index outside the records: as good as the exact one whenever the index names the right
people, and never worse for an index that is stale, foreign, lost or wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_galleries import CONTRACT, DIM, embedding, enroll, template

from facekd.errors import InputOutput, Unreadable
from facekd.gallery import CandidateSearch, GalleryRecords, IndexStamp, SearchIndex, measure_recall
from facekd.gallery.recall import Recall, exact_nearest, noisy_probes, recall_of

PEOPLE = 300


class InMemoryIndex:
    """Compares with everybody in it; each build leaves out ``forgets`` people, who are then not found."""

    def __init__(self) -> None:
        self.rows: dict[str, np.ndarray] = {}
        self.made: IndexStamp | None = None
        self.builds, self.forgets = 0, 0
        self.asked: list[int] = []

    def stamp(self) -> IndexStamp | None:
        return None if self.made is None else replace(self.made, people=len(self.rows))

    def build(self, people: Iterable[tuple[Sequence[str], np.ndarray]], stamp: IndexStamp) -> None:
        self.rows = {uid: row for uids, rows in people for uid, row in zip(uids, rows, strict=True)}
        self.builds, self.made = self.builds + 1, stamp

    def put(self, ids: Sequence[str], rows: np.ndarray, stamp: IndexStamp) -> None:
        self.rows |= dict(zip(ids, rows, strict=True))
        self.made = stamp

    def remove(self, ids: Sequence[str], stamp: IndexStamp) -> None:
        for uid in ids:
            self.rows.pop(uid, None)
        self.made = stamp

    def candidates(self, embeddings: np.ndarray, count: int) -> list[list[str]]:
        self.asked.append(count)
        uids = list(self.rows)
        scores = embeddings @ np.stack(list(self.rows.values())).T
        return [[uids[place] for place in np.argsort(-row)[self.forgets :][:count]] for row in scores]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of people with one to three photos each; two of them look exactly alike."""
    path = tmp_path_factory.mktemp("crowd") / "staff.db"
    with GalleryRecords(path, CONTRACT, create=True) as records, records.transaction():
        for seed in range(PEOPLE):
            photos = [template(10 * seed + n) for n in range(1 + seed % 3)]
            records.add(f"p{seed:03}", photos)
        records.add("a twin", [replace(template(7), photo="f" * 64)])
        records.add("the twin", [replace(template(7), photo="e" * 64)])
    return path


@pytest.fixture
def staff(tmp_path: Path) -> Path:
    enroll(tmp_path / "staff.db", *((f"p{seed}", seed) for seed in range(8)))
    return tmp_path / "staff.db"


def test_scores_and_order_are_those_of_the_exact_search(crowd: Path) -> None:
    probes = np.stack([embedding(7), *(embedding(seed) for seed in range(40_000, 40_070))])
    with GalleryRecords(crowd, read_only=True) as records:
        search, exact = CandidateSearch(records, InMemoryIndex()), SearchIndex(records)
        for top in (1, 5, 40, 1000):
            found, right = search.search(probes, top), exact.search(probes, top)
            assert found.names == right.names
            assert found.scores.dtype == right.scores.dtype == np.float32
            assert np.array_equal(found.scores, right.scores)
        assert found.names[0][:2] == ("a twin", "the twin")
        assert search.search(np.empty((0, DIM), np.float32), 3).names == ()


def test_so_many_candidates_are_asked_for(crowd: Path) -> None:
    index = InMemoryIndex()
    with GalleryRecords(crowd, read_only=True) as records:
        search = CandidateSearch(records, index)
        for top in (1, 20, 1000):
            search.search(embedding(1)[None], top)
    assert index.asked == [100, 200, PEOPLE + 2]


def test_whom_the_index_does_not_name_is_not_found_and_that_is_measured(staff: Path) -> None:
    index = InMemoryIndex()
    with GalleryRecords(staff, read_only=True) as records:
        search = CandidateSearch(records, index)
        assert measure_recall(records, search) == Recall(8, 1.0, 1.0)
        index.forgets = 1
        assert measure_recall(records, search) == Recall(8, 0.0, 0.8)


def test_recall_is_a_share() -> None:
    assert recall_of([["a", "b"], ["d", "c"]], [["a", "b"], ["c", "e"]]) == Recall(2, 0.5, 0.75)
    rows = np.stack([embedding(seed) for seed in range(50)])
    assert 0.6 < float((rows * noisy_probes(rows)).sum(axis=1).mean()) < 0.8
    blocks = [([f"{n}" for n in range(at, at + 10)], rows[at : at + 10]) for at in range(0, 50, 10)]
    assert [row[0] for row in exact_nearest(blocks, noisy_probes(rows), 3)] == [f"{n}" for n in range(50)]


def test_an_index_is_built_when_it_is_lost_or_stale_and_not_before(staff: Path) -> None:
    index = InMemoryIndex()

    def find(seed: int) -> str:
        with GalleryRecords(staff, read_only=True) as records:
            return CandidateSearch(records, index).search(embedding(seed)[None], 1).names[0][0]

    assert [find(3), find(4)] == ["p3", "p4"]
    assert index.builds == 1
    enroll(staff, ("new", 50))
    assert [find(50), find(3)] == ["new", "p3"]
    assert index.builds == 2
    with GalleryRecords(staff) as records, records.transaction():
        records.remove("p3")
    assert find(3) != "p3"
    assert index.builds == 3
    index.made = None
    find(4)
    assert index.builds == 4


def test_a_change_that_is_under_way_is_waited_for(staff: Path) -> None:
    index = InMemoryIndex()
    with GalleryRecords(staff, read_only=True) as records:
        CandidateSearch(records, index).rebuild()
        assert index.made is not None
        whole, index.made = index.made, replace(index.made, state="another")
        times: list[str] = []

        @contextmanager
        def steady() -> Iterator[None]:
            times.append("waited")
            if len(times) == 1:
                index.made = whole
            yield

        search = CandidateSearch(records, index, steady)
        assert search.search(embedding(3)[None], 1).names == (("p3",),)
        assert (index.builds, len(times)) == (1, 1)
        index.rows["0" * 32] = index.rows.pop(records.uid_of("p3"))  # wrong, whatever its stamp says
        assert search.search(embedding(3)[None], 1).names == (("p3",),)
        assert (index.builds, len(times)) == (2, 3)


@pytest.mark.parametrize("lie", ["space", "state", "people", "removed", "short", "exchanged"])
def test_an_index_that_is_wrong_is_built_anew(staff: Path, lie: str) -> None:
    index = InMemoryIndex()
    with GalleryRecords(staff, read_only=True) as records:
        search = CandidateSearch(records, index)
        search.rebuild()
        assert index.made is not None
        uid = records.uid_of("p3")
        if lie == "space":
            index.made = replace(index.made, space="b" * 64)
        elif lie == "state":
            index.made = replace(index.made, state="another")
        elif lie == "people":
            del index.rows[uid]
        elif lie == "removed":
            index.rows["0" * 32] = index.rows.pop(uid)
        elif lie == "short":
            index.forgets = 5
        else:
            index.rows[uid], index.rows[records.uid_of("p4")] = (-index.rows[uid] for _ in range(2))
        if lie == "short":
            with pytest.raises(InputOutput, match="does not match the gallery"):
                search.search(embedding(3)[None], 4)
            assert index.builds == 3
        else:
            found = search.search(embedding(3)[None], 1)
            assert found.names == (("p3",),)
            assert found.scores[0, 0] == pytest.approx(1)
            assert index.builds == (1 if lie == "exchanged" else 2)


def test_somebody_who_is_removed_during_the_search_is_not_found(staff: Path) -> None:
    class Slow(InMemoryIndex):
        def candidates(self, embeddings: np.ndarray, count: int) -> list[list[str]]:
            found = super().candidates(embeddings, count)
            if self.builds == 1:
                with GalleryRecords(staff) as writer, writer.transaction():
                    writer.remove("p3")
            return found

    index = Slow()
    with GalleryRecords(staff, read_only=True) as records:
        found = CandidateSearch(records, index).search(embedding(3)[None], 8)
        # all that is read is of the moment before
        assert found.names[0][0] == "p3"
        after = CandidateSearch(records, index).search(embedding(3)[None], 8)
    assert "p3" not in after.names[0]
    assert index.builds == 2


def test_what_cannot_be_searched(staff: Path) -> None:
    with GalleryRecords(staff, read_only=True) as records:
        search = CandidateSearch(records, InMemoryIndex())
        for wrong in (np.ones((1, DIM + 1), np.float32), np.full((1, DIM), np.nan, np.float32), embedding(1)):
            with pytest.raises(ValueError, match="finite and"):
                search.search(wrong, 1)
        with pytest.raises(ValueError, match="at least one person"):
            search.search(embedding(1)[None], 0)
    with GalleryRecords(staff) as records, records.transaction():
        for name in records.names():
            records.remove(name)
    with GalleryRecords(staff, read_only=True) as records:
        found = CandidateSearch(records, InMemoryIndex()).search(embedding(1)[None], 5)
    assert (found.names, found.scores.shape) == (((),), (1, 0))


def test_a_damaged_template_is_told(staff: Path) -> None:
    import sqlite3

    with sqlite3.connect(staff) as db:
        db.execute("UPDATE templates SET quality = 0.25 WHERE id = 4")
    db.close()
    with GalleryRecords(staff, read_only=True) as records:
        uid = records.uid_of("p3")
        with pytest.raises(Unreadable, match="p3"):
            records.some([uid])
        assert set(records.some([records.uid_of("p4"), "0" * 32])) == {records.uid_of("p4")}
        with pytest.raises(Unreadable, match="p3"):
            CandidateSearch(records, InMemoryIndex()).search(embedding(3)[None], 1)
