"""Connections to a PostgreSQL server that are lost: what is connected again, and what fails."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from made_galleries import CONTRACT, enroll, template

from facekd.errors import InputOutput
from facekd.gallery import GalleryCheck, GalleryRecords, gallery_place
from facekd.gallery.postgres import connecting, idle

if TYPE_CHECKING:
    from postgres_server import PostgresServer


class TestLostConnections:
    def cut(self, postgres: PostgresServer, url: str) -> None:
        postgres.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()",
            url,
        )

    def test_reading_and_the_next_change_connect_again(self, postgres: PostgresServer, url: str) -> None:
        enroll(url, ("Ann", 1))
        with GalleryRecords(url, CONTRACT) as records:
            self.cut(postgres, url)
            assert records.names() == ["Ann"]
            self.cut(postgres, url)
            with records.transaction():
                records.add("Bo", [template(2)])
            self.cut(postgres, url)
            assert len(list(records.audit_entries())) == 2
            assert records.everybody().names == ("Ann", "Bo")

    def test_a_connection_is_used_again(self, postgres: PostgresServer, url: str) -> None:
        enroll(url, ("Ann", 1))

        def which(read_only: bool) -> int:
            with GalleryRecords(url, read_only=read_only) as records:
                assert records.names() == ["Ann"]
                return int(records._file.rows("SELECT pg_backend_pid()")[0][0])

        first = which(True)
        assert which(False) == which(True) == first
        self.cut(postgres, url)
        assert which(True) != first
        with GalleryRecords(url, read_only=True) as one, GalleryRecords(url) as other:
            assert one.names() == other.names() == ["Ann"]
        opened = [GalleryRecords(url, read_only=True) for _ in range(idle.MOST + 3)]
        for records in opened:
            records.close()
        count = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'facekd' AND datname = current_database()"
        )
        until = time.monotonic() + 30
        while postgres.ask(count, url)[0][0] > idle.MOST and time.monotonic() < until:
            time.sleep(0.05)
        assert postgres.ask(count, url) == [(idle.MOST,)]

    def test_a_change_that_is_cut_is_not_made(self, postgres: PostgresServer, url: str) -> None:
        enroll(url, ("Ann", 1))
        with GalleryRecords(url, CONTRACT) as records:

            def change(more: bool) -> None:
                with records.transaction():
                    records.add("Bo", [template(2)])
                    self.cut(postgres, url)
                    if more:  # never outside of the transaction that was cut
                        records.add("Cy", [template(3)])

            for more, told in ((True, "went away"), (False, "which may be made or not|went away")):
                with pytest.raises(InputOutput, match=told):
                    change(more)
                assert records.names() == ["Ann"]

    def test_a_snapshot_that_is_cut_does_not_go_on_as_another(
        self, postgres: PostgresServer, url: str
    ) -> None:
        enroll(url, ("Ann", 1))

        def read(records: GalleryRecords) -> None:
            with records.snapshot():
                self.cut(postgres, url)
                records.names()

        with GalleryRecords(url, read_only=True) as records:
            with pytest.raises(InputOutput, match="went away"):
                read(records)
            assert records.names() == ["Ann"]

    def test_a_server_that_crashes_and_comes_again(
        self, postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "RETRY_SECONDS", 60.0)  # of a machine that does other things, too
        enroll(url, ("Ann", 1))
        with GalleryRecords(url, CONTRACT) as records:

            def change() -> None:
                with records.transaction():
                    records.add("Bo", [template(2)])
                    postgres.stop("QUIT")
                    records.names()

            again = threading.Timer(0.5, postgres.start)
            try:
                with pytest.raises(InputOutput):
                    change()
            finally:
                again.start()
            try:
                assert records.names() == ["Ann"]  # a short restart is waited for
            finally:
                again.join()
            with records.transaction():
                records.add("Cy", [template(3)])
        with GalleryRecords(url, read_only=True) as records:
            assert records.names() == ["Ann", "Cy"]
        assert list(GalleryCheck(gallery_place(url)).faults()) == []
