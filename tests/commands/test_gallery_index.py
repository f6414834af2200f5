"""Choose how a gallery is searched; every way to identify follows the choice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_galleries import CONTRACT, enroll
from small_photos import album_of_three
from tiny_model import write_tiny_model

from facekd import Gallery, Recognizer
from facekd.cli._gallery_index import ENGINE_NAMES, missed
from facekd.errors import InputOutput, UsageError
from facekd.gallery import (
    ENGINES,
    EXACT,
    CandidateSearch,
    EmbeddingStore,
    GalleryRecords,
    SearchChoice,
    gallery_place,
    move_gallery,
    people_search,
)
from facekd.workflows import IndexLook

if TYPE_CHECKING:
    from postgres_server import PostgresServer


@pytest.fixture
def url(with_vector: PostgresServer) -> str:
    return with_vector.new_database()


@pytest.mark.parametrize(("recall", "warned"), [(1.0, False), (0.995, False), (0.99, True), (0.727, True)])
def test_an_index_that_misses_people_is_told(recall: float, warned: bool) -> None:
    choice = SearchChoice("pgvector", "", "0", "2026-11-30", 1_000_000, 200, recall, recall / 2)
    told = missed(IndexLook(choice, 1_000_000))
    assert (told is not None) == warned
    if told:
        assert f"misses {100 * (1 - recall):.1f} % of the people" in told
    assert missed(IndexLook(None, 10)) is None


def test_the_engines_are_those_of_the_gallery() -> None:
    assert list(ENGINE_NAMES) == [EXACT, *ENGINES]


def test_build_show_and_drop(facekd: Callable[..., Any], url: str) -> None:
    enroll(url, *((f"p{seed}", seed) for seed in range(20)))

    def ask(*arguments: object) -> dict[str, Any]:
        ran = facekd("gallery", "index", *arguments, "--gallery", url, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    exact = ask()
    assert (exact["engine"], exact["people"], exact["indexed"], exact["recall_1"]) == (
        "exact",
        20,
        None,
        None,
    )
    built = ask("--engine", "pgvector")
    assert (built["engine"], built["people"], built["indexed"], built["probes"]) == ("pgvector", 20, 20, 20)
    assert (built["recall_1"], built["recall_5"], built["current"]) == (1.0, 1.0, True)
    enroll(url, ("new", 100))
    assert ask() == built | {"people": 21}
    told = facekd("gallery", "index", "--gallery", url)
    assert "searched by pgvector, 21 people; recall 1.0000 of the first" in told.out
    assert json.loads(facekd("gallery", "check", "--gallery", url, "--json").out)["whole"] is True
    again = ask("--engine", "pgvector")
    assert (again["people"], again["indexed"]) == (21, 21)
    assert ask("--engine", "exact") == exact | {"people": 21}
    assert ask() == exact | {"people": 21}
    assert "searched exactly, 21 people" in facekd("gallery", "index", "--gallery", url).out
    assert json.loads(facekd("gallery", "check", "--gallery", url, "--json").out)["whole"] is True


def test_an_index_that_was_harmed_is_told(
    facekd: Callable[..., Any], url: str, with_vector: PostgresServer
) -> None:
    enroll(url, ("Ann", 1), ("Bo", 2))
    assert facekd("gallery", "index", "--engine", "pgvector", "--gallery", url).code == 0
    with_vector.ask("DELETE FROM facekd.vectors WHERE person = 1", url)
    ran = facekd("gallery", "index", "--gallery", url, "--json")
    assert json.loads(ran.out)["current"] is False
    assert "does not match the gallery" in ran.err
    checked = facekd("gallery", "check", "--gallery", url)
    assert checked.code == 5
    assert "'Ann' is not in the search index" in checked.out
    assert "facekd gallery index --engine pgvector" in checked.out


def test_an_empty_gallery_takes_one(facekd: Callable[..., Any], url: str) -> None:
    enroll(url, ("Ann", 1))
    assert facekd("gallery", "remove", "Ann", "--yes", "--gallery", url).code == 0
    ran = facekd("gallery", "index", "--engine", "pgvector", "--gallery", url, "--json")
    assert (json.loads(ran.out)["probes"], json.loads(ran.out)["recall_1"]) == (0, 1.0)
    enroll(url, ("Bo", 2))
    with GalleryRecords(url, read_only=True) as records:
        search, choice = people_search(records)
        assert (type(search), choice and choice.people) == (CandidateSearch, 0)


def test_a_file_is_searched_exactly(facekd: Callable[..., Any], tmp_path: Path) -> None:
    enroll(tmp_path / "staff.db", ("Ann", 1))
    of_file = ("--gallery", tmp_path / "staff.db")
    shown = json.loads(facekd("gallery", "index", *of_file, "--json").out)
    assert (shown["engine"], shown["people"]) == ("exact", 1)
    assert facekd("gallery", "index", "--engine", "exact", *of_file).code == 0
    refused = facekd("gallery", "index", "--engine", "pgvector", *of_file)
    assert refused.code == 2
    assert "a gallery in a file is searched exactly" in refused.err


def test_an_encrypted_gallery_takes_none(
    facekd: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography")
    assert facekd("gallery", "new-key", tmp_path / "key").code == 0
    monkeypatch.setenv("FACEKD_GALLERY_KEY_FILE", str(tmp_path / "key"))
    enroll(tmp_path / "staff.db", ("Ann", 1))
    refused = facekd("gallery", "index", "--engine", "pgvector", "--gallery", tmp_path / "staff.db")
    assert refused.code == 2
    assert "would hold its templates in the clear" in refused.err


def test_an_index_of_a_newer_facekd_is_refused(
    facekd: Callable[..., Any], url: str, with_vector: PostgresServer
) -> None:
    enroll(url, ("Ann", 1))
    assert facekd("gallery", "index", "--engine", "pgvector", "--gallery", url).code == 0
    with_vector.ask("UPDATE facekd.search_index SET engine = 'crystal'", url)
    refused = facekd("gallery", "index", "--gallery", url)
    assert (refused.code, "crystal, which this facekd does not know" in refused.err) == (2, True)
    assert facekd("gallery", "index", "--engine", "exact", "--gallery", url).code == 0


def test_identify_says_what_it_was_searched_by(
    facekd: Callable[..., Any], url: str, photos: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEKD_MODEL", str(tiny))
    monkeypatch.setenv("FACEKD_GALLERY", url)
    face = photos / "a.jpg"
    assert facekd("enroll", "Ann Lee", face).code == 0
    exact = json.loads(facekd("identify", face, "--threshold", "0.5", "--json").out)
    assert exact["index"] == {
        "engine": "exact", "built": None, "people": None, "probes": None, "recall_1": None, "recall_5": None,
    }  # fmt: skip
    built = json.loads(facekd("gallery", "index", "--engine", "pgvector", "--json").out)
    found = json.loads(facekd("identify", face, "--threshold", "0.5", "--json").out)
    assert found == exact | {"index": found["index"]}
    assert found["index"] == {
        "engine": "pgvector", "built": built["built"], "people": 1, "probes": 1,
        "recall_1": 1.0, "recall_5": 1.0,
    }  # fmt: skip
    with Gallery(url, recognizer=Recognizer(tiny, threshold=0.5)) as gallery:
        of_python = gallery.identify(face)
    assert (of_python.searched_by.engine, of_python.faces[0].name) == ("pgvector", "Ann Lee")


class TestReEmbedding:
    """The index of the space that a gallery leaves must not be searched, nor keep its templates."""

    @pytest.fixture
    def album(self, photos: Path, tmp_path: Path) -> Path:
        return album_of_three(tmp_path / "album")

    @pytest.fixture
    def call(
        self, facekd: Callable[..., Any], url: str, album: Path, tiny: Path, tmp_path: Path
    ) -> tuple[object, ...]:
        """How a gallery that pgvector searches is moved to another model."""
        other = write_tiny_model(tmp_path / "other.onnx", seed=1, dim=48)
        assert facekd("enroll", "--from", album, "--model", tiny, "--gallery", url).code == 0
        assert facekd("gallery", "index", "--engine", "pgvector", "--gallery", url).code == 0
        return ("gallery", "re-embed", "--from", album, "--model", other, "--gallery", url, "--json")

    def test_the_index_is_built_anew(
        self, facekd: Callable[..., Any], call: tuple[object, ...], url: str, album: Path, tmp_path: Path
    ) -> None:
        moved = facekd(*call)
        assert moved.code == 0, moved.err
        told = json.loads(moved.out)
        assert (told["moved"], told["index"], told["failure"]) == (4, "pgvector", None)
        shown = json.loads(facekd("gallery", "index", "--gallery", url, "--json").out)
        assert (shown["engine"], shown["indexed"], shown["current"]) == ("pgvector", 3, True)
        assert json.loads(facekd("gallery", "check", "--gallery", url, "--json").out)["whole"] is True
        asked = facekd("identify", album / "Bo" / "1.jpg", "--model", tmp_path / "other.onnx",
                       "--threshold", "0.999", "--gallery", url, "--json")  # fmt: skip
        found = json.loads(asked.out)
        assert (found["candidates"][0]["name"], found["index"]["engine"]) == ("Bo", "pgvector")

    def test_one_that_cannot_be_built_is_told(
        self, facekd: Callable[..., Any], call: tuple[object, ...], url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise InputOutput("the disk of the server is full")

        monkeypatch.setattr("facekd.workflows.gallery_re_embed.build_index", fail)
        moved = facekd(*call)
        assert moved.code == 5
        told = json.loads(moved.out)
        assert (told["moved"], told["index"], told["erasure"]) == (4, None, "done")
        assert told["failure"]["reason"] == "io"
        assert "moved, but its search index was not built anew: the disk" in told["failure"]["message"]
        assert json.loads(facekd("gallery", "index", "--gallery", url, "--json").out)["engine"] == "exact"
        assert json.loads(facekd("gallery", "check", "--gallery", url, "--json").out)["whole"] is True

    def test_a_move_that_fails_leaves_one_as_there_was(
        self, facekd: Callable[..., Any], call: tuple[object, ...], url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise InputOutput("another program is writing to it")

        monkeypatch.setattr("facekd.workflows.gallery_re_embed.move_gallery", fail)
        assert facekd(*call).code == 5
        shown = json.loads(facekd("gallery", "index", "--gallery", url, "--json").out)
        assert (shown["engine"], shown["indexed"], shown["current"]) == ("pgvector", 3, True)

    def test_records_with_an_index_are_not_moved(
        self, call: tuple[object, ...], url: str, tmp_path: Path
    ) -> None:
        with GalleryRecords(url) as records:
            state = str(records.state())
        with (
            EmbeddingStore(tmp_path / "x", CONTRACT) as store,
            pytest.raises(UsageError, match="has a search index, of the space"),
        ):
            move_gallery(gallery_place(url), store, state)
