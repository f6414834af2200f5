"""A gallery in PostgreSQL that is searched by an index on a Milvus server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_galleries import CHANGES, CONTRACT, embedding, enroll, template
from small_photos import album_of_three
from tiny_model import write_tiny_model

from facekd import Gallery, Recognizer
from facekd.errors import InputOutput, UsageError
from facekd.gallery import (
    CandidateSearch,
    GalleryRecords,
    IndexStamp,
    as_key,
    gallery_place,
    people_search,
)
from facekd.gallery.milvus import connecting, idle
from facekd.gallery.postgres import outside
from facekd.workflows import encrypt_gallery

if TYPE_CHECKING:
    from pathlib import Path

    from milvus_server import MilvusServer
    from postgres_server import PostgresServer

    from facekd.gallery import MilvusIndex

Command = Callable[..., Any]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def indexed(url: str, milvus_server: MilvusServer, facekd: Command) -> Iterator[str]:
    """A gallery of twenty people with an index in Milvus, chosen by the command."""
    enroll(url, *((f"p{seed}", seed) for seed in range(20)))
    built = facekd("gallery", "index", "--engine", "milvus", "--at", milvus_server.uri, "--gallery", url)
    assert built.code == 0, built.err
    yield url
    facekd("gallery", "index", "--engine", "exact", "--gallery", url)


def change(url: str, *changes: Callable[[GalleryRecords], Any]) -> None:
    with GalleryRecords(url, CONTRACT) as records, records.transaction():
        for one in changes:
            one(records)


def found(url: str, seed: int) -> str:
    """By a search that may only read, and so builds nothing."""
    with GalleryRecords(url, read_only=True) as records:
        search, choice = people_search(records)
        assert (type(search), choice and choice.engine) == (CandidateSearch, "milvus")
        assert search.is_current()
        return search.search(embedding(seed)[None], 1).names[0][0]


def in_index(url: str, *uids: str) -> set[str]:
    with GalleryRecords(url, read_only=True) as records:
        return _index(records).held(uids)


def stamp(url: str) -> IndexStamp | None:
    with GalleryRecords(url, read_only=True) as records:
        return _index(records).stamp()


def present(url: str) -> IndexStamp:
    with GalleryRecords(url, read_only=True) as records:
        return IndexStamp(CONTRACT.space, str(records.state()), records.count())


def _index(records: GalleryRecords) -> MilvusIndex:
    choice = people_search(records)[1]
    assert choice is not None
    assert records.server is not None
    return records.server.outside_index(choice.place)


def uid_of(url: str, name: str) -> str:
    with GalleryRecords(url, read_only=True) as records:
        return records.uid_of(name)


def check(facekd: Command, url: str) -> tuple[int, str]:
    ran = facekd("gallery", "check", "--gallery", url)
    return ran.code, ran.out


def test_build_show_and_drop(facekd: Command, url: str, milvus_server: MilvusServer) -> None:
    enroll(url, *((f"p{seed}", seed) for seed in range(20)))

    def ask(*arguments: object) -> dict[str, Any]:
        ran = facekd("gallery", "index", *arguments, "--gallery", url, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    built = ask("--engine", "milvus", "--at", milvus_server.uri)
    assert (built["engine"], built["place"], built["current"]) == ("milvus", milvus_server.uri, True)
    assert (built["indexed"], built["probes"], built["recall_1"], built["recall_5"]) == (20, 20, 1.0, 1.0)
    assert ask() == built
    assert stamp(url) == present(url)
    assert check(facekd, url)[0] == 0
    with GalleryRecords(url, read_only=True) as records:
        index = _index(records)
        assert ask("--engine", "exact")["engine"] == "exact"
        assert index.stamp() is None
    assert check(facekd, url)[0] == 0
    enroll(url, ("new", 100))


def test_every_change_is_in_it_at_once(facekd: Command, indexed: str) -> None:
    gone = {name: uid_of(indexed, name) for name in ("p5", "p6")}
    assert in_index(indexed, *gone.values()) == set(gone.values())
    for one in CHANGES:
        change(indexed, one)
        assert stamp(indexed) == present(indexed)
    change(indexed, *(lambda records, n=n: records.add(f"many{n}", [template(600 + n)]) for n in range(3)),
           lambda records: records.remove("p7"))  # fmt: skip
    assert stamp(indexed) == present(indexed)
    names = {seed: found(indexed, seed) for seed in (500, 501, 2, 5, 601)}
    assert names == {500: "new", 501: "p1", 2: "Ann", 5: "p4", 601: "many1"}
    assert found(indexed, 6) != "p6"
    assert in_index(indexed, *gone.values()) == set()
    assert check(facekd, indexed)[0] == 0


def test_removal_by_the_command_leaves_nobody(facekd: Command, indexed: str) -> None:
    uid = uid_of(indexed, "p3")
    assert facekd("gallery", "remove", "p3", "--yes", "--gallery", indexed).code == 0
    assert in_index(indexed, uid) == set()
    assert found(indexed, 3) != "p3"


def test_programs_that_do_not_know_of_it(facekd: Command, indexed: str, postgres: PostgresServer) -> None:
    """Triggers record whom they change; the next writer updates the index."""
    uid = uid_of(indexed, "p3")
    postgres.ask("DELETE FROM facekd.templates USING facekd.people WHERE people.id = person AND name = 'p3'",
                 indexed)  # fmt: skip
    postgres.ask("DELETE FROM facekd.people WHERE name = 'p3'", indexed)
    assert in_index(indexed, uid) == {uid}
    code, told = check(facekd, indexed)
    assert (code, "does not match the gallery" in told) == (5, True)
    enroll(indexed, ("new", 100))
    assert in_index(indexed, uid) == set()
    assert stamp(indexed) == present(indexed)


def test_more_changes_than_one_transaction_brings(
    facekd: Command, indexed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "MOST_DUE", 3)
    change(
        indexed,
        lambda records: [records.add(f"many{n}", [template(600 + n)]) for n in range(5)],
        lambda records: records.remove("p3"),
    )
    assert stamp(indexed) != present(indexed)
    enroll(indexed, ("new", 100))
    assert stamp(indexed) == present(indexed)
    assert [found(indexed, 600 + n) for n in range(5)] == [f"many{n}" for n in range(5)]
    assert check(facekd, indexed)[0] == 0


def test_a_search_waits_for_a_writer_who_has_changed_the_index(indexed: str) -> None:
    """And does not take it for stale."""
    between = threading.Event()

    def write() -> None:
        with GalleryRecords(indexed, CONTRACT) as records:
            assert records.server is not None
            state = records.server.state

            def slowly() -> str:  # asked after the index was changed
                between.set()
                time.sleep(0.5)
                return state()

            records.server.state = slowly  # type: ignore[method-assign]
            with records.transaction():
                records.remove("p3")

    writer = threading.Thread(target=write)
    writer.start()
    assert between.wait(20)
    with GalleryRecords(indexed, read_only=True) as records:
        searched = people_search(records)[0].search(embedding(4)[None], 20).names[0]
    writer.join()
    assert searched[0] == "p4"
    assert (len(searched), "p3" in searched) == (19, False)


def test_a_change_that_is_undone_leaves_a_stale_index(facekd: Command, indexed: str) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    with GalleryRecords(indexed, CONTRACT) as records:
        assert records.server is not None
        records.server.state = fail  # type: ignore[method-assign]  # asked after the index was changed
        with pytest.raises(OSError, match="disk"), records.transaction():
            records.remove("p3")
    assert stamp(indexed) != present(indexed)
    enroll(indexed, ("new", 100))
    assert stamp(indexed) != present(indexed)
    with GalleryRecords(indexed) as records:  # the owner's search builds it anew
        assert people_search(records)[0].search(embedding(3)[None], 1).names == (("p3",),)
    assert found(indexed, 3) == "p3"


def test_changes_during_a_build(indexed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made when the people have been read and the index is not complete."""
    gone = uid_of(indexed, "p3")
    with GalleryRecords(indexed) as records:
        search = people_search(records)[0]
        assert isinstance(search, CandidateSearch)
        read = records.directions

        def slowly() -> Iterator[tuple[list[str], np.ndarray]]:
            yield from list(read())
            change(indexed, lambda records: records.remove("p3"), lambda records: records.add(
                "new", [template(500)]))  # fmt: skip

        monkeypatch.setattr(records, "directions", slowly)
        search.rebuild()
        assert search.is_current()
    assert in_index(indexed, gone) == set()
    assert found(indexed, 500) == "new"


def test_a_connection_serves_the_next_call(
    facekd: Command, url: str, monkeypatch: pytest.MonkeyPatch, own_server: MilvusServer
) -> None:
    """As a service makes them, which opens the gallery for each; not one that failed, nor an old one."""
    enroll(url, ("Ann", 1), ("Bo", 2))
    built = facekd("gallery", "index", "--engine", "milvus", "--at", own_server.uri, "--gallery", url)
    assert built.code == 0, built.err
    used: set[int] = set()

    def search() -> None:
        with GalleryRecords(url, read_only=True) as records:
            people_search(records)[0].search(embedding(1)[None], 1)
            used.add(id(_index(records)._client))

    search()
    search()
    assert len(used) == 1
    monkeypatch.setattr(idle, "SECONDS", 0.0)
    with GalleryRecords(url, read_only=True) as records:
        assert _index(records).connected is None


def test_somebody_who_does_not_belong_there_is_told(facekd: Command, indexed: str) -> None:
    with GalleryRecords(indexed, read_only=True) as records:
        index, kept = _index(records), present(indexed)
        index.put(["f" * 32], embedding(900)[None], kept)
        code, told = check(facekd, indexed)
        assert (code, "in the search index who are not enrolled: 1" in told) == (5, True)
        index.remove([records.uid_of("p3"), "f" * 32], kept)
        code, told = check(facekd, indexed)
        assert (code, "'p3' is not in the search index" in told) == (5, True)
        assert "--engine milvus --at http://" in told


def test_a_server_that_does_not_answer(
    facekd: Command, url: str, monkeypatch: pytest.MonkeyPatch, own_server: MilvusServer
) -> None:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 1)
    enroll(url, ("Ann", 1), ("Bo", 2))
    built = facekd("gallery", "index", "--engine", "milvus", "--at", own_server.uri, "--gallery", url)
    assert built.code == 0, built.err
    own_server.stop()
    removed = facekd("gallery", "remove", "Ann", "--yes", "--gallery", url)
    assert removed.code == 5
    assert f"{own_server.uri}: the server cannot be reached" in removed.err
    assert "the gallery was not changed" in removed.err
    with pytest.raises(InputOutput, match="cannot be reached"):
        enroll(url, ("Cy", 3))
    with GalleryRecords(url, read_only=True) as records:
        assert records.names() == ["Ann", "Bo"]
        with pytest.raises(InputOutput, match="cannot be reached"):
            people_search(records)[0].search(embedding(1)[None], 1)
    assert check(facekd, url)[0] == 5
    freed = facekd("gallery", "index", "--engine", "exact", "--gallery", url)
    assert (freed.code, "it still holds templates" in freed.err) == (5, True)
    assert facekd("gallery", "remove", "Ann", "--yes", "--gallery", url).code == 0
    refused = facekd("gallery", "index", "--engine", "milvus", "--at", own_server.uri, "--gallery", url)
    assert refused.code == 5
    enroll(url, ("Cy", 3))  # nothing depends on a server on which nothing was built
    own_server.start()


def test_roles(facekd: Command, indexed: str, postgres: PostgresServer) -> None:
    """Writers update the index; only the owner builds it."""
    from facekd.gallery import database_roles

    postgres.ask(database_roles(), indexed)
    users = {}
    database = indexed.split("@/")[1].split("?")[0]
    for role in ("writer", "reader"):
        name = f"{database}_milvus_{role}"
        postgres.ask(f"CREATE ROLE {name} LOGIN IN ROLE facekd_{role}", indexed)
        users[role] = postgres.url(database, user=name)
    removed = facekd("gallery", "remove", "p3", "--yes", "--gallery", users["writer"])
    assert removed.code == 0, removed.err
    assert stamp(indexed) == present(indexed)
    assert found(users["reader"], 4) == "p4"
    with GalleryRecords(indexed, read_only=True) as records:
        index = _index(records)
        index.remove([], IndexStamp(CONTRACT.space, "other", 0))
    refused = pytest.raises(InputOutput, match="only the gallery's owner may build")
    with GalleryRecords(users["reader"], read_only=True) as records, refused:
        people_search(records)[0].search(embedding(4)[None], 1)


def test_what_is_refused(facekd: Command, indexed: str, tmp_path: Path, milvus_server: MilvusServer) -> None:
    of_file = ("gallery", "index", "--gallery", tmp_path / "staff.db")
    enroll(tmp_path / "staff.db", ("Ann", 1))
    for arguments, told in (
        (("--engine", "milvus", "--at", milvus_server.uri), "a gallery in a file is searched exactly"),
        (("--engine", "milvus"), "require each other"),
        (("--engine", "pgvector", "--at", milvus_server.uri), "require each other"),
        (("--at", milvus_server.uri), "require each other"),
    ):
        ran = facekd(*of_file, *arguments)
        assert (ran.code, told in ran.err) == (2, True), ran.err
    ran = facekd("gallery", "index", "--engine", "milvus", "--at", "index.db", "--gallery", indexed)
    assert (ran.code, "not the URL of a Milvus server" in ran.err) == (2, True)
    pytest.importorskip("cryptography")
    with pytest.raises(UsageError, match="has a search index"):
        encrypt_gallery(gallery_place(indexed), as_key(bytes(32)))


def test_identify_names_it(
    facekd: Command, url: str, photos: Path, tiny: Path, milvus_server: MilvusServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FACEKD_MODEL", str(tiny))
    monkeypatch.setenv("FACEKD_GALLERY", url)
    face = photos / "a.jpg"
    assert facekd("enroll", "Ann Lee", face).code == 0
    assert facekd("gallery", "index", "--engine", "milvus", "--at", milvus_server.uri).code == 0
    told = json.loads(facekd("identify", face, "--threshold", "0.5", "--json").out)
    assert told["index"]["engine"] == "milvus"
    with closing(Gallery(url, recognizer=Recognizer(tiny, threshold=0.5))) as gallery:
        of_python = gallery.identify(face)
    assert (of_python.searched_by.engine, of_python.faces[0].name) == ("milvus", "Ann Lee")
    assert facekd("gallery", "index", "--engine", "exact").code == 0


def test_a_gallery_that_is_moved_to_another_model_has_an_index_of_that(
    facekd: Command, url: str, milvus_server: MilvusServer, photos: Path, tiny: Path, tmp_path: Path
) -> None:
    album, other = album_of_three(tmp_path / "album"), write_tiny_model(tmp_path / "o.onnx", seed=1, dim=48)
    assert facekd("enroll", "--from", album, "--model", tiny, "--gallery", url).code == 0
    call = ("gallery", "index", "--gallery", url)
    assert facekd(*call, "--engine", "milvus", "--at", milvus_server.uri).code == 0
    moved = facekd("gallery", "re-embed", "--from", album, "--model", other, "--gallery", url, "--json")
    assert moved.code == 0, moved.err
    assert json.loads(moved.out)["index"] == "milvus"
    shown = json.loads(facekd(*call, "--json").out)
    assert (shown["engine"], shown["indexed"], shown["current"]) == ("milvus", 3, True)
    assert json.loads(facekd("gallery", "check", "--gallery", url, "--json").out)["whole"] is True
    assert facekd(*call, "--engine", "exact").code == 0
