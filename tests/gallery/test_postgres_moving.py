"""Moving and backing up a gallery in PostgreSQL: rights, damage, an older schema, traces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_galleries import CONTRACT, embedding, enroll, enroll_in_tables

from facekd.errors import InputOutput, Unreadable
from facekd.gallery import (
    Contract,
    EmbeddingStore,
    GalleryCheck,
    GalleryRecords,
    back_up,
    check_movable,
    gallery_place,
    move_gallery,
)

if TYPE_CHECKING:
    from postgres_server import PostgresServer

    from facekd.gallery import Moved

OTHER = Contract("b" * 64, 48, "other", "scrfd", "arcface-5pt/2")


def move(url: str, folder: Path, *seeds: int) -> Moved | None:
    """Move the gallery, of people with the templates of ``seeds``."""
    with GalleryRecords(url, read_only=True) as records:
        state = records.state()
    with EmbeddingStore(folder / "x", OTHER) as store:
        for seed in seeds:
            store.add(f"{seed:064x}", embedding(100 + seed, OTHER.dim), 0.5)
        return move_gallery(gallery_place(url), store, str(state))


def test_the_old_embeddings_are_in_no_file_of_the_server(
    postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    def traces(row: bytes) -> list[Path]:
        for query in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
            postgres.ask(query, "postgres")
        return postgres.files_with(row[16:80], row[-64:])

    enroll(url, *((f"p{seed}", seed) for seed in range(5)))
    assert traces(embedding(3).tobytes())
    moved = move(url, tmp_path, *range(5))
    assert moved is not None
    assert not moved.pending
    assert traces(embedding(3).tobytes()) == []
    assert traces(embedding(103, OTHER.dim).tobytes())


def test_none_but_the_owner_moves_it_and_anybody_backs_it_up(
    postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    team = postgres.team_of(url)
    enroll(team["owner"], ("Ann", 1), ("Bo", 2))
    for user in ("writer", "reader"):
        with pytest.raises(InputOutput, match="only the gallery's owner"):
            check_movable(gallery_place(team[user]))
        with pytest.raises(InputOutput, match="may not do that"):
            move(team[user], tmp_path, 1, 2)
    assert back_up(gallery_place(team["reader"]), tmp_path / "backup.db")
    assert list(GalleryCheck(tmp_path / "backup.db").faults()) == []
    check_movable(gallery_place(team["owner"]))
    assert move(team["owner"], tmp_path, 1, 2) is not None
    with GalleryRecords(team["reader"], OTHER, read_only=True) as records:
        assert records.names() == ["Ann", "Bo"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE facekd.templates SET embedding = '\\x00' WHERE id = 2",
        "UPDATE facekd.people SET name = 'Zoe' WHERE id = 2",
        "UPDATE facekd.templates SET checksum = '' WHERE id = 2",
    ],
)
def test_a_damaged_gallery_gives_no_backup(
    postgres: PostgresServer, url: str, tmp_path: Path, damage: str
) -> None:
    enroll(url, ("Ann", 1), ("Bo", 2))
    postgres.ask(damage, url)
    with pytest.raises(Unreadable, match="template 2 of person 2 does not match its checksum"):
        back_up(gallery_place(url), tmp_path / "backup.db")
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_is_not_what_was_read_gives_no_backup(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facekd.gallery import server_backup

    enroll(url, ("Ann", 1), ("Bo", 2))
    monkeypatch.setattr(server_backup, "_sum_of", lambda rows: len(list(rows)) + id(rows))
    with pytest.raises(InputOutput, match="rows of the table contract differ"):
        back_up(gallery_place(url), tmp_path / "backup.db")
    assert list(tmp_path.iterdir()) == []


def test_one_of_an_older_schema_is_backed_up_and_not_migrated(
    postgres: PostgresServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facekd.gallery.postgres import migrating

    known = {number: sql for number, sql in migrating.migrations().items() if number <= 8}
    with monkeypatch.context() as older:
        older.setattr(migrating, "migrations", lambda: known)
        GalleryRecords(url, CONTRACT, create=True).close()
    enroll_in_tables(postgres, url, "Ann", 1)
    back_up(gallery_place(url), tmp_path / "backup.db")
    assert postgres.ask("SELECT max(number) FROM facekd.migrations", url) == [(8,)]
    assert list(GalleryCheck(tmp_path / "backup.db").faults()) == []
    with GalleryRecords(tmp_path / "backup.db", CONTRACT) as records:
        assert records.names() == ["Ann"]
        assert records.schema()[0] == records.schema()[1]
