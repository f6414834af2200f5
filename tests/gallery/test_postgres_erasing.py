"""Removed people are erased from every file of a PostgreSQL server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from made_galleries import CONTRACT, embedding, template

from facekd.gallery import (
    GalleryCheck,
    GalleryRecords,
    SearchIndex,
    copy_gallery,
    gallery_place,
    search_memory,
)
from facekd.gallery.postgres import erasing

if TYPE_CHECKING:
    from postgres_server import PostgresServer


_KILLED = """
import os, signal, sys
from facekd.gallery import GalleryRecords
from facekd.gallery.postgres import erasing
if sys.argv[2] == "before":
    erasing.erase = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with GalleryRecords(sys.argv[1]) as records, records.transaction():
    records.remove("person number 140.")
    if sys.argv[2] == "inside":
        os.kill(os.getpid(), signal.SIGKILL)
"""


class TestErasure:
    @pytest.fixture
    def crowd(self, url: str) -> str:
        with GalleryRecords(url, CONTRACT, create=True) as records, records.transaction():
            for seed in range(300):
                records.add(f"person number {seed}.", [template(seed)])
        return url

    def traces(self, postgres: PostgresServer, seed: int) -> list[str]:
        """The files of the whole cluster that hold somebody's name, photo or a piece of their template, once
        the write-ahead log has turned over, as it does at each checkpoint of a server in use."""
        for query in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
            postgres.ask(query, "postgres")
        whole = embedding(seed).tobytes()
        pieces = (whole[16:80], whole[-64:], f"person number {seed}.".encode(), f"{seed:064x}".encode())
        found = [path for piece in pieces for path in postgres.files_with(piece)]
        return [str(path.relative_to(postgres.data)) for path in found]

    def test_whoever_is_removed_is_in_no_file_of_the_server(
        self, postgres: PostgresServer, crowd: str
    ) -> None:
        gone = [3, 140, 141, 220, 299]
        assert all(self.traces(postgres, seed) for seed in gone)
        postgres.ask("ANALYZE", crowd)  # would copy values into the planner's statistics
        with GalleryRecords(crowd) as records:
            for seed in gone[:-1]:
                with records.transaction():
                    records.remove(f"person number {seed}.")
                assert records.pending is False
            with records.transaction():
                records.rename("person number 299.", "Zoe")
        postgres.ask("ANALYZE", crowd)
        assert [self.traces(postgres, seed) for seed in gone[:-1]] == [[]] * 4
        assert postgres.files_with(b"person number 299.") == []
        assert self.traces(postgres, 142)
        assert list(GalleryCheck(gallery_place(crowd)).faults()) == []

    @pytest.mark.parametrize("when", ["before", "inside"])
    def test_a_killed_removal_is_done_whole_or_not_at_all(
        self, postgres: PostgresServer, crowd: str, when: str
    ) -> None:
        command = [sys.executable, "-c", _KILLED, crowd, when]
        assert subprocess.run(command, check=False, env=os.environ).returncode == -signal.SIGKILL
        owed = postgres.ask("SELECT count(*) FROM facekd.erasures", crowd)
        assert owed == [(1 if when == "before" else 0,)]
        with GalleryRecords(crowd) as records:  # the next writer finishes it
            assert len(records.people()) == (299 if when == "before" else 300)
        assert postgres.ask("SELECT count(*) FROM facekd.erasures", crowd) == [(0,)]
        assert bool(self.traces(postgres, 140)) == (when == "inside")

    def test_an_old_transaction_keeps_the_bytes_and_that_is_told(
        self, postgres: PostgresServer, crowd: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It need not have read the tables: its snapshot is enough."""
        import psycopg

        with psycopg.connect(crowd, autocommit=True) as other, GalleryRecords(crowd) as records:
            other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT 1")
            with records.transaction():
                records.remove("person number 140.")
            assert records.pending is True
            # even where it was not seen beforehand
            monkeypatch.setattr(erasing, "_is_seen", lambda *_: False)
            assert records.erase() is False
            assert postgres.ask("SELECT count(*) FROM facekd.erasures", crowd) == [(1,)]
            assert self.traces(postgres, 140)
            other.execute("COMMIT")
            assert records.erase() is True
        assert self.traces(postgres, 140) == []

    def test_what_a_killed_server_leaves_behind_is_told(self, postgres: PostgresServer, crowd: str) -> None:
        import psycopg

        def left(url: str = crowd) -> list[str]:
            faults = list(GalleryCheck(gallery_place(url)).faults())
            assert {fault.kind for fault in faults} <= {"left_behind"}
            return [fault.message for fault in faults]

        owner = postgres.team_of(crowd)["owner"]
        # as VACUUM (FULL) does, this writes a table's rows into a file that is its own once it commits
        with closing(psycopg.connect(crowd)) as other:
            other.execute("CREATE TABLE rewritten AS SELECT * FROM facekd.templates")
            assert left() == []
            postgres.ask("CHECKPOINT", "postgres")
            postgres.kill_backend(other.info.backend_pid)
        with GalleryRecords(crowd) as records:
            with records.transaction():
                records.remove("person number 140.")
            assert records.pending is False
        (file,) = set(self.traces(postgres, 140))
        assert (postgres.data / file).stat().st_size >= 300 * 4 * CONTRACT.dim
        (told,) = left()
        explained, _, files = told.rpartition(": ")
        # of the table, and of its TOAST index
        assert file in files.split(", ")
        size = sum((postgres.data / one).stat().st_size for one in files.split(", "))
        assert explained.endswith(f"({size / 1e3:,.0f} kB)")
        assert left(owner) == []  # may not look at the server's files

        # the remedy
        new = postgres.new_database()
        copy_gallery(gallery_place(crowd), gallery_place(new))
        database = crowd.partition("@/")[2].partition("?")[0]
        postgres.ask(f"DROP DATABASE {database} WITH (FORCE)", "postgres")
        assert self.traces(postgres, 140) == []
        assert self.traces(postgres, 141)
        assert left(new) == []

    def test_what_is_searched_is_of_the_present_state(self, crowd: str) -> None:
        with GalleryRecords(crowd, read_only=True) as records:
            assert SearchIndex.of(records).search(embedding(140)[None], 1).names == (("person number 140.",),)
        kept = search_memory.load(crowd, CONTRACT.space, _state(crowd))
        assert kept is not None
        assert len(kept[0]) == 300
        with GalleryRecords(crowd) as records, records.transaction():
            records.remove("person number 140.")
        assert search_memory.load(crowd, CONTRACT.space, _state(crowd)) is None
        with GalleryRecords(crowd, read_only=True) as records:
            found = SearchIndex.of(records).search(embedding(140)[None], 1)
        assert found.names != (("person number 140.",),)
        assert found.scores[0, 0] < 0.9


def _state(url: str) -> str:
    with GalleryRecords(url, read_only=True) as records:
        return str(records.state())
