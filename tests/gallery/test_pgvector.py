"""The search index of pgvector: correct at every moment, whatever program changes the gallery, and without
removed people."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_galleries import CHANGES, CONTRACT, DIM, embedding, enroll, template

from facekd.errors import InputOutput, Misfit, UsageError
from facekd.gallery import (
    CandidateSearch,
    GalleryCheck,
    GalleryRecords,
    IndexStamp,
    SearchChoice,
    SearchIndex,
    Template,
    as_key,
    choose_search,
    gallery_place,
    open_index,
    people_search,
    search_choice,
)
from facekd.gallery.mean_directions import MeanDirections
from facekd.gallery.postgres import directions
from facekd.runtime import fuse
from facekd.workflows import encrypt_gallery

if TYPE_CHECKING:
    from postgres_server import PostgresServer

PEOPLE = 30


@pytest.fixture
def url(with_vector: PostgresServer) -> str:
    return with_vector.new_database()


@pytest.fixture
def indexed(url: str) -> str:
    """A gallery with an index of pgvector, chosen."""
    with GalleryRecords(url, CONTRACT, create=True) as records:
        with records.transaction():
            for seed in range(PEOPLE):
                records.add(f"p{seed}", [template(seed), template(1000 + seed)][: 1 + seed % 2])
        CandidateSearch(records, open_index(records, "pgvector")).rebuild()
        choose_search(records.path, SearchChoice("pgvector", "", CONTRACT.space, "", PEOPLE, 30, 1.0, 1.0))
    return url


def find(url: str, seed: int, top: int = 1) -> tuple[str, ...]:
    """Searched by the index, in a session that only reads; the exact search answers alike."""
    probe = embedding(seed)[None]
    with GalleryRecords(url, read_only=True) as records:
        search, choice = people_search(records)
        assert choice is not None
        assert isinstance(search, CandidateSearch)
        found, right = search.search(probe, top), SearchIndex.of(records).search(probe, top)
    assert found.names == right.names
    assert np.array_equal(found.scores, right.scores)
    return found.names[0]


def stamp(url: str) -> IndexStamp | None:
    with GalleryRecords(url, read_only=True) as records:
        return open_index(records, "pgvector").stamp()


def held(server: PostgresServer, url: str) -> tuple[int, int]:
    """How many people the index holds, and how many are due."""
    query = "SELECT (SELECT count(*) FROM facekd.vectors), (SELECT count(*) FROM facekd.vectors_due)"
    return server.ask(query, url)[0]


def faults(url: str) -> list[str]:
    return [f"{fault.kind}: {fault.message}" for fault in GalleryCheck(gallery_place(url)).faults()]


def test_it_answers_as_the_exact_search_does(indexed: str) -> None:
    assert find(indexed, 3) == ("p3",)
    for top in (5, PEOPLE, 500):
        assert len(find(indexed, 70, top)) == min(top, PEOPLE)
    assert faults(indexed) == []


def test_every_change_is_in_it_at_once(with_vector: PostgresServer, indexed: str) -> None:
    for change in CHANGES:
        with GalleryRecords(indexed, CONTRACT) as records:
            with records.transaction():
                change(records)
            people, state = records.count(), records.state()
        assert stamp(indexed) == IndexStamp(CONTRACT.space, str(state), people)
        assert held(with_vector, indexed) == (people, 0)
        assert faults(indexed) == []
    assert [find(indexed, seed)[0] for seed in (500, 501, 2, 5)] == ["new", "p1", "Ann", "p4"]
    assert "p6" not in find(indexed, 6, 100)


def test_a_change_that_is_undone_leaves_it_as_it_was(with_vector: PostgresServer, indexed: str) -> None:
    def change_and_fail(records: GalleryRecords) -> None:
        with records.transaction():
            records.add("new", [template(500)])
            records.remove("p3")
            raise ZeroDivisionError

    before = stamp(indexed)
    with GalleryRecords(indexed, CONTRACT) as records, pytest.raises(ZeroDivisionError):
        change_and_fail(records)
    assert (stamp(indexed), held(with_vector, indexed)) == (before, (PEOPLE, 0))
    assert find(indexed, 3) == ("p3",)


def test_a_writer_who_knows_of_no_index_cannot_make_it_stale(
    with_vector: PostgresServer, indexed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as an earlier facekd: people whom it changed are candidates until a writer computes their
    direction."""
    with monkeypatch.context() as older:
        older.setattr(MeanDirections, "index_changed", lambda _: None)
        with GalleryRecords(indexed, CONTRACT) as records, records.transaction():
            records.add("new", [template(500)])
            records.add("p3", [template(501)])
            records.remove("p4")
    assert held(with_vector, indexed) == (PEOPLE - 2, 2)
    assert (find(indexed, 500), find(indexed, 501)) == (("new",), ("p3",))
    assert "p4" not in find(indexed, 4, 100)
    assert faults(indexed) == []
    with GalleryRecords(indexed, CONTRACT) as records, records.transaction():
        records.rename("p1", "Ann")
    assert held(with_vector, indexed) == (PEOPLE, 0)
    assert (find(indexed, 500), find(indexed, 501)) == (("new",), ("p3",))


def test_many_who_are_changed_at_once_are_taken_in_by_and_by(
    with_vector: PostgresServer, indexed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directions, "_MOST_DUE", 2)
    with GalleryRecords(indexed, CONTRACT) as records:
        with records.transaction():
            for seed in range(500, 505):
                records.add(f"p{seed}", [template(seed)])
        for due in (3, 1, 0):
            assert held(with_vector, indexed) == (PEOPLE + 5 - due, due)
            assert [find(indexed, seed)[0] for seed in (500, 504)] == ["p500", "p504"]
            with records.transaction():
                pass


def test_whose_template_is_damaged_can_be_removed(with_vector: PostgresServer, indexed: str) -> None:
    with_vector.ask(
        "UPDATE facekd.templates SET embedding = decode(repeat('00', 256), 'hex')"
        " WHERE person = (SELECT id FROM facekd.people WHERE name = 'p3')",
        indexed,
    )
    assert held(with_vector, indexed) == (PEOPLE - 1, 1)
    with GalleryRecords(indexed, CONTRACT) as records, records.transaction():
        records.add("new", [template(500)])
    assert held(with_vector, indexed) == (PEOPLE, 1)
    with GalleryRecords(indexed, CONTRACT) as records, records.transaction():
        records.remove("p3")
    assert held(with_vector, indexed) == (PEOPLE, 0)
    assert find(indexed, 500) == ("new",)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("DROP TABLE facekd.vectors, facekd.vectors_due", "that was chosen is missing"),
        ("DROP INDEX facekd.vectors_by_direction", "vectors_by_direction is missing"),
        ("DELETE FROM facekd.vectors WHERE person = 3", "'p2' is not in the search index"),
        ("ALTER TABLE facekd.templates DISABLE TRIGGER note_due", "note_due is missing"),
        ("DROP TRIGGER note_due_changed ON facekd.templates", "note_due_changed is missing"),
        ("COMMENT ON TABLE facekd.vectors IS 'another space'", "of another space"),
        ("DROP EXTENSION vector CASCADE", "vectors.direction vector not null is missing"),
    ],
)
def test_one_that_is_lost_or_harmed_is_built_anew(
    with_vector: PostgresServer, indexed: str, harm: str, told: str
) -> None:
    with_vector.ask(harm, indexed)
    found = faults(indexed)
    assert all(fault.startswith("index: ") or "(not enabled)" in fault for fault in found), found
    assert any(told in fault for fault in found), found
    assert find(indexed, 3) == ("p3",)
    assert held(with_vector, indexed) == (PEOPLE, 0)
    assert faults(indexed) == []


def test_a_wrong_direction_is_told(with_vector: PostgresServer, indexed: str) -> None:
    with_vector.ask(
        "UPDATE facekd.vectors SET direction = (SELECT direction FROM facekd.vectors WHERE person = 4)"
        " WHERE person = 3",
        indexed,
    )
    assert faults(indexed) == ["index: the search index does not hold the templates of 'p2'"]


def test_others_write_while_it_is_built(with_vector: PostgresServer, url: str) -> None:
    enroll(url, *((f"p{seed}", seed) for seed in range(5)))
    with GalleryRecords(url) as records:
        index = open_index(records, "pgvector")
        people = records.directions()

        def meanwhile() -> Any:
            """After the tables were made: before the first block is read, and before it is written."""
            with GalleryRecords(url, CONTRACT) as writer, writer.transaction():
                writer.add("early", [template(100)])
            for block in people:
                with GalleryRecords(url, CONTRACT) as writer, writer.transaction():
                    writer.remove("p0")
                    writer.add("p1", [template(101)])
                    writer.add("late", [template(102)])
                yield block

        index.build(meanwhile(), IndexStamp(CONTRACT.space, "whatever it was", 5))
        choose_search(records.path, SearchChoice("pgvector", "", CONTRACT.space, "", 6, 6, 1.0, 1.0))
    assert held(with_vector, url) == (6, 0)
    assert [find(url, seed)[0] for seed in (100, 101, 102, 2)] == ["early", "p1", "late", "p2"]
    assert "p0" not in find(url, 0, 10)
    assert faults(url) == []


def test_a_build_that_was_interrupted_is_no_index(with_vector: PostgresServer, url: str) -> None:
    enroll(url, *((f"p{seed}", seed) for seed in range(5)))
    with GalleryRecords(url) as records:
        index = open_index(records, "pgvector")

        def interrupted() -> Any:
            yield from records.directions()
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            index.build(interrupted(), IndexStamp(CONTRACT.space, "", 5))
        assert index.stamp() is None
        assert any("vectors_by_direction is missing" in fault for fault in faults(url))
        assert index.candidates(embedding(3)[None], 1) == [[records.uid_of("p3")]]  # by reading all
        index.drop()
    assert faults(url) == []


def test_who_opened_it_before_it_was_moved_leaves_its_index(
    with_vector: PostgresServer, indexed: str
) -> None:
    with GalleryRecords(indexed) as records:
        search, _ = people_search(records)
        with_vector.ask(
            "WITH moved AS (UPDATE facekd.contract SET space = 'x') UPDATE facekd.templates SET space = 'x'",
            indexed,
        )
        with_vector.ask("COMMENT ON TABLE facekd.vectors IS 'x'", indexed)
        with pytest.raises(Misfit, match="was moved to another model"):
            search.search(embedding(3)[None], 1)
    assert held(with_vector, indexed) == (PEOPLE, 0)


def test_one_builds_at_a_time(url: str) -> None:
    enroll(url, ("Ann", 1))
    with GalleryRecords(url) as records, GalleryRecords(url) as others:

        def meanwhile() -> Any:
            with pytest.raises(InputOutput, match="another program is building"):
                open_index(others, "pgvector").build(others.directions(), IndexStamp("", "", 1))
            yield from records.directions()

        open_index(records, "pgvector").build(meanwhile(), IndexStamp(CONTRACT.space, "", 1))
        assert open_index(others, "pgvector").stamp() == IndexStamp(CONTRACT.space, str(records.state()), 1)


def test_put_and_remove_as_of_every_index(with_vector: PostgresServer, indexed: str) -> None:
    with GalleryRecords(indexed) as records:
        index = open_index(records, "pgvector")
        made = index.stamp()
        assert made is not None
        uid = records.uid_of("p3")
        index.remove([uid], made)
        assert [uid] not in index.candidates(embedding(3)[None], 1)
        assert held(with_vector, indexed) == (PEOPLE - 1, 0)
        index.put([uid], embedding(77)[None], made)
        assert index.candidates(embedding(77)[None], 1) == [[uid]]


class TestErasure:
    def traces(self, server: PostgresServer, row: np.ndarray) -> list[str]:
        """The files with any piece of a template, or of the direction as PostgreSQL sends or keeps it."""
        for query in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
            server.ask(query, "postgres")
        places = (4, 30, len(row) - 12)
        pieces = [row[at : at + 12].astype(kind).tobytes() for kind in ("<f4", ">f4") for at in places]
        return [str(path.relative_to(server.data)) for path in server.files_with(*pieces)]

    @pytest.mark.parametrize("dim", [512, 256, 64])
    def test_whoever_is_removed_is_in_no_file_of_the_server(
        self, with_vector: PostgresServer, url: str, dim: int
    ) -> None:
        graph = "SELECT pg_relation_filenode('facekd.vectors_by_direction')"
        rows = {f"p{seed}": fuse([embedding(seed, dim)]) for seed in range(40)}
        with GalleryRecords(url, replace(CONTRACT, dim=dim), create=True) as records:
            with records.transaction():
                for number, (name, row) in enumerate(rows.items()):
                    records.add(name, [Template(row, f"{number:064x}", 0.5)])
            search = CandidateSearch(records, open_index(records, "pgvector"))
            search.rebuild()
            before = with_vector.ask(graph, url)
            # of the template, the direction, and the graph
            assert len(self.traces(with_vector, rows["p3"])) >= 3
            with records.transaction():
                records.remove("p3")
            assert records.pending is False
            assert self.traces(with_vector, rows["p3"]) == []
            assert self.traces(with_vector, rows["p4"])
            assert search.search(rows["p4"][None], 1).names == (("p4",),)
        version = with_vector.ask("SELECT current_setting('server_version_num')::integer", url)[0][0]
        assert (with_vector.ask(graph, url) == before) == (version >= 160000)
        assert faults(url) == []

    def test_an_old_transaction_keeps_the_bytes_and_that_is_told(
        self, with_vector: PostgresServer, indexed: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import psycopg

        from facekd.gallery.postgres import erasing

        with psycopg.connect(indexed, autocommit=True) as other, GalleryRecords(indexed) as records:
            other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT 1")
            monkeypatch.setattr(erasing, "_is_seen", lambda *_: False)
            with records.transaction():
                records.remove("p3")
            assert records.pending is True
            other.execute("COMMIT")
            assert records.erase() is True


class TestRoles:
    @pytest.fixture
    def team(self, with_vector: PostgresServer, url: str) -> dict[str, str]:
        """The database as each of three users."""
        return with_vector.team_of(url)

    def test_each_may_do_its_work_and_no_more(
        self, with_vector: PostgresServer, team: dict[str, str], url: str
    ) -> None:
        with_vector.ask("DROP EXTENSION IF EXISTS vector", url)
        enroll(team["owner"], *((f"p{seed}", seed) for seed in range(5)))
        with GalleryRecords(team["owner"]) as records:
            search = CandidateSearch(records, open_index(records, "pgvector"))
            with pytest.raises(UsageError, match="pgvector is not installed") as caught:
                search.rebuild()
            assert "CREATE EXTENSION vector SCHEMA public" in str(caught.value)
            with_vector.ask("CREATE EXTENSION vector SCHEMA public", url)
            search.rebuild()
            choose_search(records.path, SearchChoice("pgvector", "", CONTRACT.space, "", 5, 5, 1.0, 1.0))
        enroll(team["writer"], ("new", 500))
        with GalleryRecords(team["writer"]) as records, records.transaction():
            records.remove("p3")
        assert find(team["reader"], 500) == ("new",)
        assert faults(team["reader"]) == []
        assert held(with_vector, team["reader"]) == (5, 0)
        for user in ("writer", "reader"):
            with GalleryRecords(team[user], read_only=True) as records:
                with pytest.raises(InputOutput, match="only the gallery's owner may build"):
                    CandidateSearch(records, open_index(records, "pgvector")).rebuild()
                with pytest.raises(InputOutput, match="may not do that"):
                    choose_search(records.path, None)
        with pytest.raises(Exception, match="permission denied"):
            with_vector.ask("DELETE FROM facekd.vectors", team["reader"])
        with GalleryRecords(team["owner"]) as records:
            assert records.erase() is True
            open_index(records, "pgvector").drop()
            choose_search(records.path, None)
            assert search_choice(records) is None


def test_there_may_be_many_at_once(indexed: str) -> None:
    """Writers and readers side by side: nobody is found after they were removed, everybody before."""
    wrong: list[str] = []

    def write(number: int) -> None:
        with GalleryRecords(indexed, CONTRACT) as records:
            for seed in range(6):
                name = f"w{number} {seed}"
                with records.transaction():
                    records.add(name, [template(10_000 + 100 * number + seed)])
                probe = embedding(10_000 + 100 * number + seed)[None]
                search = CandidateSearch(records, open_index(records, "pgvector"))
                wrong.extend([name] if search.search(probe, 1).names != ((name,),) else [])
                with records.transaction():
                    records.remove(name)
                wrong.extend([name] if name in search.search(probe, 100).names[0] else [])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert faults(indexed) == []


def test_without_pgvector_the_server_is_told(postgres: PostgresServer) -> None:
    if postgres.ask("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'", "postgres") != [
        (0,)
    ]:
        pytest.skip("the server of the tests has pgvector")
    url = postgres.new_database()
    enroll(url, ("Ann", 1))
    with (
        GalleryRecords(url) as records,
        pytest.raises(UsageError, match="the server has no pgvector") as caught,
    ):
        CandidateSearch(records, open_index(records, "pgvector")).rebuild()
    assert "postgresql-NN-pgvector" in str(caught.value)


def test_a_direction_is_written_to_the_bit() -> None:
    row = embedding(5, DIM)
    text = directions.written(row)
    assert np.array_equal(np.array(text.strip("[]").split(","), np.float32), row)


def test_a_gallery_with_an_index_is_not_encrypted(indexed: str) -> None:
    """Otherwise its templates would remain in the index in the clear."""
    pytest.importorskip("cryptography")
    key = as_key(bytes(range(32)))
    with pytest.raises(UsageError, match="holds its templates in the clear"):
        encrypt_gallery(gallery_place(indexed), key)
    find(indexed, 3)
    with GalleryRecords(indexed) as records:
        open_index(records, "pgvector").drop()
        choose_search(records.path, None)
    assert encrypt_gallery(gallery_place(indexed), key).templates == PEOPLE + PEOPLE // 2
    with GalleryRecords(indexed, key=key) as records, pytest.raises(UsageError, match="in the clear"):
        open_index(records, "pgvector")
