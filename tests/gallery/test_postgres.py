"""What is peculiar to galleries in PostgreSQL: addresses, TLS, locks, lost connections, roles, erasure."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_galleries import CONTRACT, embedding, enroll, enroll_in_tables, template

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.gallery import (
    GalleryCheck,
    GalleryRecords,
    SearchIndex,
    ServerAddress,
    database_roles,
    gallery_place,
    is_there,
    look_at_server,
    search_memory,
)
from facekd.gallery import migrations as of_files
from facekd.gallery.postgres import connecting, erasing, gallery_server, idle, migrating, server_check

if TYPE_CHECKING:
    from postgres_server import PostgresServer

REMOTE = "postgresql://ann@db.example.org/staff"


class TestAddress:
    @pytest.mark.parametrize(
        "text", ["postgresql://ann@h/staff", "postgres://h", "postgresql:///s?host=%2Frun%2Fpg&user=ann"]
    )
    def test_what_is_a_server(self, text: str) -> None:
        place = gallery_place(text)
        assert isinstance(place, ServerAddress)
        assert str(place) == text
        assert gallery_place(place) is place

    @pytest.mark.parametrize("text", ["staff.db", "/x/postgresql", "mysql://h/x", "postgresql.db"])
    def test_what_is_a_file(self, text: str) -> None:
        assert gallery_place(text) == Path(text)

    def test_a_path_loses_a_slash(self) -> None:
        with pytest.raises(UsageError, match="no path"):
            gallery_place(Path("postgresql://h/staff"))

    @pytest.mark.parametrize(
        "text",
        [
            "postgresql://ann:hunter2@h/staff",
            "postgres://ann:hunter2@h/staff",
            "postgresql://ann:hunter2@[::1]:5432,h:1/staff",
            "postgresql://h/staff?password=hunter2",
            "postgresql://h/staff?pass%77ord=hunter2",
            "postgresql://h/staff?sslmode=require&sslpassword=hunter2",
            "postgresql://ann:hunter2@h:port/staff?x=[",
        ],
    )
    def test_a_password_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(UsageError, match="password") as caught:
            gallery_place(text)
        assert "hunter2" not in str(caught.value)
        assert ".pgpass" in str(caught.value)

    def test_what_libpq_does_not_understand(self) -> None:
        pytest.importorskip("psycopg")
        with pytest.raises(UsageError, match="colour"):
            connecting.parameters(ServerAddress("postgresql://h/staff?colour=red"), {})
        with pytest.raises(UsageError, match="password"):  # whatever hid it from `gallery_place`
            connecting.parameters(ServerAddress("postgresql://ann:x@h/staff"), {})

    def test_without_psycopg_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(UsageError, match="psycopg") as caught:
            GalleryRecords(REMOTE)
        assert "facekd[postgres]" in str(caught.value)


class TestEncryption:
    @pytest.fixture(autouse=True)
    def _psycopg(self) -> None:
        pytest.importorskip("psycopg")

    @pytest.mark.parametrize(
        "url",
        [
            REMOTE,
            "postgresql://10.0.0.1/staff",
            "postgresql://localhost,db.example.org/staff",
            "postgresql:///staff?host=%2Frun&hostaddr=10.0.0.1",
            "postgresql:///staff?service=team",
        ],
    )
    def test_another_machine_must_prove_who_it_is(self, url: str) -> None:
        assert connecting.parameters(ServerAddress(url), {})["sslmode"] == "verify-full"

    def test_less_has_to_be_asked_for_and_no_encryption_is_refused(self) -> None:
        both = "&" if "?" in REMOTE else "?"
        for mode in ("require", "verify-ca", "verify-full"):
            address = ServerAddress(f"{REMOTE}{both}sslmode={mode}")
            assert connecting.parameters(address, {})["sslmode"] == mode
            assert connecting.parameters(ServerAddress(REMOTE), {"PGSSLMODE": mode})["sslmode"] == mode
        for mode in ("disable", "allow", "prefer"):
            with pytest.raises(UsageError, match="without TLS"):
                connecting.parameters(ServerAddress(f"{REMOTE}{both}sslmode={mode}"), {})
            with pytest.raises(UsageError, match="without TLS"):
                connecting.parameters(ServerAddress("postgresql:///x"), {"PGHOST": "h", "PGSSLMODE": mode})

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql:///staff",
            "postgresql://localhost/staff",
            "postgresql://127.0.0.1,[::1]/staff",
            "postgresql:///staff?host=%2Frun%2Fpostgresql",
            "postgresql://db.example.org/staff?hostaddr=127.0.0.1",
        ],
    )
    def test_this_machine_need_not_encrypt(self, url: str) -> None:
        assert "sslmode" not in connecting.parameters(ServerAddress(url), {})

    def test_waits_are_bounded_unless_said_otherwise(self) -> None:
        found = connecting.parameters(ServerAddress(REMOTE), {})
        assert found["connect_timeout"] == "5"
        assert int(found["tcp_user_timeout"]) <= 30_000
        environ = {"PGCONNECT_TIMEOUT": "9"}
        assert "connect_timeout" not in connecting.parameters(ServerAddress(REMOTE), environ)
        slow = ServerAddress(f"{REMOTE}?connect_timeout=20")
        assert connecting.parameters(slow, {})["connect_timeout"] == "20"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setattr(connecting, "RETRY_SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(InputOutput, match="cannot be reached"):
        GalleryRecords(f"postgresql://ann@/staff?host={tmp_path}")
    assert time.monotonic() - start < 5


def test_what_the_server_does_not_have(postgres: PostgresServer, url: str) -> None:
    for wrong in (postgres.url("nothing_there"), postgres.url("postgres", user="nobody_there")):
        with pytest.raises(InputOutput, match="no such database or user"):
            GalleryRecords(wrong)
    assert not is_there(gallery_place(url))
    with pytest.raises(Unreadable, match="no gallery in this database"):
        GalleryRecords(url)
    postgres.ask("CREATE TABLE people (name text)", url)  # another program's, in a schema of its own
    enroll(url, ("Ann", 1))
    assert is_there(gallery_place(url))
    assert postgres.ask("SELECT count(*) FROM public.people", url) == [(0,)]
    postgres.ask("DROP TABLE public.people", url)


def test_the_schema_means_the_same_as_in_a_file(url: str) -> None:
    enroll(url, ("Ann", 1))
    assert migrating.latest() == of_files.latest()
    with GalleryRecords(url, read_only=True) as records:
        assert records.schema() == (of_files.latest(), of_files.latest())


def test_the_audit_knows_the_same_actions_as_that_of_a_file(
    postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    query = "SELECT action FROM audit_actions"
    enroll(url, ("Ann", 1))
    enroll(tmp_path / "gallery.db", ("Ann", 1))
    with closing(sqlite3.connect(tmp_path / "gallery.db")) as db:
        wanted = sorted(db.execute(query).fetchall())
    assert sorted(postgres.ask(query.replace("audit", "facekd.audit"), url)) == wanted


def test_the_first_tables_are_given_to_the_roles_and_migrated(
    postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {number: sql for number, sql in migrating.migrations().items() if number == 8}
    with monkeypatch.context() as then:
        then.setattr(migrating, "migrations", lambda: first)
        GalleryRecords(url, CONTRACT, create=True).close()
        enroll_in_tables(postgres, url, "Ann", 1)
    postgres.ask(database_roles(), url)
    with GalleryRecords(url, read_only=True) as records:
        assert records.schema() == (8, migrating.latest())
        assert records.everybody().names == ("Ann",)
    GalleryRecords(url).close()
    with GalleryRecords(url, read_only=True) as records:
        assert records.schema() == (migrating.latest(), migrating.latest())
    for right in ("INSERT", "DELETE"):
        may = f"SELECT has_table_privilege('facekd_writer', 'facekd.audit_reads', '{right}')"
        assert postgres.ask(may, url) == [(True,)]
    assert list(GalleryCheck(gallery_place(url)).faults()) == []


def test_the_layout_is_that_of_the_migrations(url: str) -> None:
    """Where this fails after a new migration, write the lines that were found to the file."""
    enroll(url, ("Ann", 1))
    server = gallery_server.GalleryServer(gallery_place(url), read_only=True)
    written = Path(server_check.__file__).with_name("layout.txt").read_text().splitlines()
    assert sorted(server_check.layout(server)) == written
    server.close()


def test_a_gallery_of_an_older_schema_is_migrated_by_its_next_writer(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enroll(url, ("Ann", 1))
    later = migrating.latest() + 1
    more = migrating.migrations() | {later: "ALTER TABLE people ADD COLUMN nick text NOT NULL DEFAULT 'x'"}
    monkeypatch.setattr(migrating, "migrations", lambda: more)
    with GalleryRecords(url, read_only=True) as records:
        assert records.schema() == (later - 1, later)
        assert records.names() == ["Ann"]
    with GalleryRecords(url) as records:
        assert records.schema() == (later, later)
        assert records.names() == ["Ann"]
    faults = [fault.message for fault in GalleryCheck(gallery_place(url)).faults()]
    assert faults == ["column people.nick text not null does not belong in a gallery"]


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        ("UPDATE templates SET checksum = ''", "template", "checksum does not match"),
        ("UPDATE people SET name = 'Bo'", "template", "checksum does not match"),
        ("UPDATE templates SET quality = 2", "template", "quality"),
        ("DELETE FROM templates", "no_template", "without a template"),
        ("UPDATE people SET uid = 'x'", "uid", "no usable uid"),
        ("DROP INDEX templates_by_photo", "schema", "index templates templates_by_photo is missing"),
        ("ALTER TABLE templates DISABLE TRIGGER USER", "schema", "trigger"),
        (
            "ALTER TABLE templates DROP CONSTRAINT templates_person_fkey; DELETE FROM people",
            "orphan", "nobody",
        ),
        ("INSERT INTO removed_people SELECT uid, '', NULL FROM people", "tombstone", "at once"),
        ("DELETE FROM contract", "contract", "missing"),
    ],
)  # fmt: skip
def test_check_finds_damage(postgres: PostgresServer, url: str, damage: str, kind: str, message: str) -> None:
    enroll(url, ("Ann", 1))
    place = gallery_place(url)
    assert list(GalleryCheck(place).faults()) == []
    if kind == "contract":
        damage = "ALTER TABLE templates DROP CONSTRAINT templates_space_fkey; " + damage
    postgres.ask(damage, f"{url}&options=-csearch_path%3Dfacekd")
    check = GalleryCheck(place)
    found = list(check.faults())
    assert any(fault.kind == kind and message in fault.message for fault in found), found


class TestAtOnce:
    def test_one_photo_under_two_names_is_refused_to_the_second(self, url: str) -> None:
        """Two hosts look whose a photo is, and then enroll it, each in its transaction."""
        enroll(url, ("Zoe", 99))
        start = multiprocessing.get_context("spawn")
        barrier, answers = start.Barrier(2), start.Queue()
        hosts = [
            start.Process(target=_enroll_unless_held, args=(url, name, barrier, answers))
            for name in ("Ann", "Bo")
        ]
        for host in hosts:
            host.start()
        told = sorted(answers.get(timeout=120) for _ in range(2 * _PHOTOS))
        for host in hosts:
            host.join(60)
        once = [(what, photo) for what in ("enrolled", "refused") for photo in range(_PHOTOS)]
        assert told == once
        with GalleryRecords(url, read_only=True) as records:
            assert all(len(records.holders(f"{photo:064x}")) == 1 for photo in range(_PHOTOS))

    def test_who_waits_sees_what_the_first_did(self, url: str) -> None:
        enroll(url, ("Ann", 1))
        seen: list[list[str]] = []

        def look() -> None:
            with GalleryRecords(url, CONTRACT) as records, records.transaction():
                seen.append(records.holders(f"{2:064x}"))

        with GalleryRecords(url, CONTRACT) as records:
            with records.transaction():
                other = threading.Thread(target=look)
                other.start()
                time.sleep(0.5)
                assert seen == []
                records.add("Ann", [template(2)])
            other.join(30)
        assert seen == [["Ann"]]

    def test_a_writer_that_does_not_end_is_an_error_not_a_hang(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "LOCK_SECONDS", 0.2)
        enroll(url, ("Ann", 1))
        with GalleryRecords(url) as first, GalleryRecords(url, CONTRACT) as second:
            with first.transaction():
                with pytest.raises(InputOutput, match="another program is writing"), second.transaction():
                    pass
                assert second.names() == ["Ann"]  # whoever reads waits for nobody
            with second.transaction():
                second.add("Bo", [template(2)])
            assert first.names() == ["Ann", "Bo"]

    def test_a_change_that_stands_still_is_given_up(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connecting, "IDLE_SECONDS", 0.3)
        enroll(url, ("Ann", 1))
        with GalleryRecords(url, CONTRACT) as stopped:

            def stand_still() -> None:
                with stopped.transaction():
                    stopped.add("Bo", [template(2)])
                    time.sleep(1.5)
                    with GalleryRecords(url, CONTRACT) as other, other.transaction():
                        other.add("Cy", [template(3)])
                    stopped.add("Bo", [template(4)])

            with pytest.raises(InputOutput):
                stand_still()
            assert stopped.names() == ["Ann", "Cy"]


_PHOTOS = 12


def _enroll_unless_held(url: str, name: str, barrier: Any, answers: Any) -> None:
    with GalleryRecords(url, CONTRACT) as records:
        for photo in range(_PHOTOS):
            barrier.wait(60)
            with records.transaction():
                held = records.holders(f"{photo:064x}")
                if not held:
                    records.add(name, [template(photo)])
            answers.put(("refused" if held else "enrolled", photo))


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
        """Not only one that has read the tables: its snapshot is enough."""
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


class TestRoles:
    @pytest.fixture
    def team(self, postgres: PostgresServer, url: str) -> dict[str, str]:
        """The database as each of three users."""
        postgres.ask(database_roles(), url)
        database = url.partition("@/")[2].partition("?")[0]
        users = {}
        for role in ("owner", "writer", "reader"):
            name = f"{database}_{role}"
            postgres.ask(f"DROP ROLE IF EXISTS {name}", url)
            postgres.ask(f"CREATE ROLE {name} LOGIN IN ROLE facekd_{role}", url)
            users[role] = postgres.url(database, user=name)
        return users

    def test_each_may_do_its_work_and_no_more(self, postgres: PostgresServer, team: dict[str, str]) -> None:
        for early in ("writer", "reader"):
            with pytest.raises(InputOutput, match="may not do that"):
                GalleryRecords(team[early], CONTRACT, create=True)
        enroll(team["owner"], ("Ann", 1), ("Bo", 2))
        enroll(team["writer"], ("Cy", 3))
        with GalleryRecords(team["reader"], read_only=True) as records:
            assert records.names() == ["Ann", "Bo", "Cy"]
            assert len(list(records.audit_entries())) == 3
            assert records.everybody().names == ("Ann", "Bo", "Cy")
            assert records.statistics().people == 3
        assert list(GalleryCheck(gallery_place(team["reader"])).faults()) == []
        with (
            pytest.raises(InputOutput, match="may not do that"),
            GalleryRecords(team["reader"], CONTRACT) as records,
            records.transaction(),
        ):
            records.add("Di", [template(4)])
        for user, statements in {
            "reader": ("DELETE FROM facekd.people", "UPDATE facekd.state SET word = ''"),
            "writer": (
                "DROP TABLE facekd.people", "UPDATE facekd.contract SET model = ''",
                "TRUNCATE facekd.people", "UPDATE facekd.audit SET person = 0", "CREATE TABLE facekd.mine ()",
                "CREATE TABLE public.mine ()", "DELETE FROM facekd.migrations",
                "INSERT INTO facekd.encryption VALUES ('', '', '', '')", "DELETE FROM facekd.encryption",
            ),
        }.items():  # fmt: skip
            for statement in statements:
                with pytest.raises(Exception, match=r"permission denied|must be owner"):
                    postgres.ask(statement, team[user])

    def test_a_writers_removal_waits_for_the_owner(
        self, postgres: PostgresServer, team: dict[str, str], url: str
    ) -> None:
        enroll(team["owner"], ("Ann", 1), ("Bo", 2))
        version = int(look_at_server(gallery_place(team["owner"])).version.partition(".")[0])
        with GalleryRecords(team["writer"]) as records, records.transaction():
            records.remove("Ann")
        assert records.pending is (version < 17)
        assert look_at_server(gallery_place(team["reader"])).erasures == int(version < 17)
        # by which the age of rows is no sign any more that the table was rewritten
        postgres.ask("VACUUM (FREEZE)", url)
        with GalleryRecords(team["writer"]) as records:
            assert records.erase() is (version >= 17)
        with GalleryRecords(team["owner"]) as records:
            assert records.erase() is True
        assert look_at_server(gallery_place(team["reader"])).erasures == 0

    def test_a_gallery_that_was_there_before_is_given_to_them(
        self, postgres: PostgresServer, url: str, request: pytest.FixtureRequest
    ) -> None:
        enroll(url, ("Ann", 1))
        team = request.getfixturevalue("team")
        enroll(team["writer"], ("Bo", 2))
        with GalleryRecords(team["owner"]) as records, records.transaction():
            records.remove("Ann")
        assert records.pending is False
        with GalleryRecords(team["reader"], read_only=True) as records:
            assert records.names() == ["Bo"]
        postgres.ask(database_roles(), url)  # as often as one likes

    def test_strangers_are_not_let_in(self, postgres: PostgresServer, team: dict[str, str], url: str) -> None:
        postgres.ask("DROP ROLE IF EXISTS stranger", url)
        postgres.ask("CREATE ROLE stranger LOGIN", url)
        enroll(team["owner"], ("Ann", 1))
        with pytest.raises(InputOutput, match="does not let this user in"):
            GalleryRecords(url.replace("admin@", "stranger@"))


def test_names_of_0_1_0_are_found_by_an_index(postgres: PostgresServer, url: str) -> None:
    """Such a gallery may be copied to a server. Each kind of white space, and what is not composed."""
    spaces = [chr(code) for code in range(1, sys.maxunicode + 1) if chr(code).isspace() and chr(code) != " "]
    odd = [" p", "p ", "p  q", "Zoe\u0308", *(f"p{space}q" for space in spaces)]
    enroll(url, *((f"n{seed}", seed) for seed in range(len(odd))), ("Zo\u00eb Lee", 500), ("a b", 501))
    postgres.ask("ANALYZE", url)
    for seed, name in enumerate(odd):
        postgres.ask("UPDATE facekd.people SET name = %s WHERE name = %s", url, (name, f"n{seed}"))
    engine = gallery_server.GalleryServer(gallery_place(url), read_only=True)
    assert sorted(name for _, name in engine.unfolded()) == sorted(odd)
    engine.close()
    with GalleryRecords(url, read_only=True) as records:
        assert records.person("Zo\u00eb").name == "Zoe\u0308"
    query = "EXPLAIN SELECT id, name FROM facekd.people WHERE facekd.may_be_unfolded(name)"
    by_index = f"{url}&options=-cenable_seqscan%3Doff"
    assert "people_unfolded" in str(postgres.ask(query, by_index))


def test_a_look_at_the_server(url: str) -> None:
    enroll(url, ("Ann", 1))
    found = look_at_server(gallery_place(url))
    assert found.encrypted is False
    assert found.erasures == 0
    assert list(found.doubts) == ["fsync = on"]  # the tests' server is in a hurry


class TestPassword:
    @pytest.fixture
    def locked(self, postgres: PostgresServer, url: str) -> str:
        """The database as a user who needs a password."""
        rules = postgres.data / "pg_hba.conf"
        before = rules.read_text()
        if "locked" not in before:
            rules.write_text("local all locked scram-sha-256\n" + before)
        postgres.ask("SELECT pg_reload_conf()", url)
        postgres.ask("DROP ROLE IF EXISTS locked", "postgres")
        postgres.ask("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'hunter2'", "postgres")
        return url.replace("admin@", "locked@")

    def test_it_comes_from_the_usual_places(
        self, locked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
        with pytest.raises(InputOutput, match="password") as caught:
            GalleryRecords(locked, CONTRACT, create=True)
        assert ".pgpass" in str(caught.value)
        (tmp_path / "pgpass").write_text("*:*:*:locked:hunter2\n")
        (tmp_path / "pgpass").chmod(0o600)
        enroll(locked, ("Ann", 1))
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / "nothing"))
        monkeypatch.setenv("PGPASSWORD", "hunter2")
        enroll(locked, ("Bo", 2))
        monkeypatch.delenv("PGPASSWORD")
        (tmp_path / "services").write_text("[staff]\nuser=locked\npassword=hunter2\n")
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        enroll(f"{locked.replace('locked@', '')}&service=staff", ("Cy", 3))

    def test_a_wrong_one_is_not_repeated(
        self, locked: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGPASSWORD", "swordfish")
        with pytest.raises(InputOutput, match="does not accept this user and password") as caught:
            connecting.connect(ServerAddress(locked))
        assert "swordfish" not in f"{caught.value}{caught.value.__cause__}"
        assert "swordfish" not in (postgres.folder / "log").read_text()


class TestCertificates:
    @pytest.fixture(scope="class")
    def secure(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, Path, int]]:
        """A server that speaks TLS at a port of this machine, and the certificate of its authority."""
        from postgres_server import PostgresServer, why_not

        reason = why_not() or (None if shutil.which("openssl") else "no openssl here")
        if reason:
            pytest.skip(reason)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        server = PostgresServer({"listen_addresses": "127.0.0.1", "port": str(port)})
        for name, host in (("server", "localhost"), ("other", "db.example.org")):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                 "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
                 "-keyout", server.data / f"{name}.key", "-out", server.data / f"{name}.crt"],
                check=True, capture_output=True,
            )  # fmt: skip
        owner = server.data.stat()
        os.chown(server.data / "server.key", owner.st_uid, owner.st_gid)
        (server.data / "server.key").chmod(0o600)
        (server.data / "server.crt").chmod(0o644)
        authority = Path(shutil.copy(server.data / "server.crt", tmp_path_factory.mktemp("authority")))
        Path(shutil.copy(server.data / "other.crt", authority.parent / "other.crt"))
        yield server, authority, port
        server.close()

    def test_the_server_proves_who_it_is(self, secure: tuple[PostgresServer, Path, int]) -> None:
        server, authority, port = secure
        url = f"postgresql://admin@localhost:{port}/postgres?hostaddr=127.0.0.1&sslmode="
        with pytest.raises(InputOutput, match="SSL"):  # nothing is said to a server that speaks no TLS
            connecting.connect(ServerAddress(f"{url}require"))
        server.stop()
        server.settings["ssl"] = "on"
        server.start()
        verified = ServerAddress(f"{url}verify-full&sslrootcert={authority}")
        assert look_at_server(verified).encrypted is True
        enroll(verified, ("Ann", 1))
        elsewhere = url.replace("localhost", "db.example.org")
        for wrong in (
            f"{url}verify-full&sslrootcert={authority.parent / 'other.crt'}",  # of another authority
            f"{elsewhere}verify-full&sslrootcert={authority}",  # of another name
        ):
            with pytest.raises(InputOutput, match=r"certificate"):
                GalleryRecords(wrong)
