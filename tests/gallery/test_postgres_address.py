"""Addresses of galleries in PostgreSQL: what a URL may say, and what TLS it asks for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from facekd.errors import UsageError
from facekd.gallery import GalleryRecords, ServerAddress, gallery_place
from facekd.gallery.postgres import connecting

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
        with pytest.raises(UsageError, match="not a path"):
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
