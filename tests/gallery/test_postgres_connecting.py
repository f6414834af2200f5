"""Connect to a PostgreSQL server: missing parts, passwords, certificates, and its settings."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_galleries import CONTRACT, enroll

from facekd.errors import InputOutput, Unreadable
from facekd.gallery import GalleryRecords, ServerAddress, gallery_place, is_there, look_at_server
from facekd.gallery.postgres import connecting

if TYPE_CHECKING:
    from postgres_server import PostgresServer


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
