"""Who may ask: tokens, pages from elsewhere, addresses."""

from __future__ import annotations

import hashlib
import hmac
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from service_requests import enroll

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.gallery import GalleryRecords
from facekd.service import ServiceSettings, is_loopback, read_tokens

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")

from facekd.service.tokens import bearer

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def line(name: str, token: str) -> str:
    return f"{name}:{hashlib.sha256(token.encode()).hexdigest()}\n"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens.txt"
    file.write_text("# who may ask\n\n" + line("door", "secret one") + line("desk", "secret two"))
    return file


def test_a_token_is_needed_where_there_are_tokens(
    made: Callable, tokens: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client, _ = made(tokens=read_tokens(tokens))
    caplog.set_level(logging.INFO, "facekd.service")
    for given in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer secret",
        "Basic secret one",
        "secret one",
        "Bearer é",
    ):
        headers = {} if given is None else {"authorization": given.encode()}
        for path in ("/v1/people", "/metrics", "/openapi.json", "/v1/nothing"):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401, (given, path)
            assert answer.json()["failure"]["reason"] == "token"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/healthz").status_code == 200
    client.headers["authorization"] = "Bearer secret two"
    assert client.get("/v1/people").status_code == 200
    assert enroll(client, "Ann Lee", photos / "a.jpg").status_code == 200
    assert client.delete("/v1/people/Ann%20Lee").status_code == 200
    log = [record.getMessage() for record in caplog.records]
    assert log[-2].startswith("desk POST /v1/people/{name}/photos 200 ")
    assert log[-2].endswith("person 1, 1 templates added, 0 forced")
    assert log[-1].endswith("person 1, 1 templates removed")
    assert "secret" not in "".join(log)
    assert "Ann" not in "".join(log)


def test_the_audit_names_who_asked(made: Callable, tokens: Path, photos: Path, gallery: Path) -> None:
    client, _ = made(tokens=read_tokens(tokens))

    def has(token: str) -> None:
        client.headers["authorization"] = f"Bearer {token}"

    has("secret one")
    enroll(client, "Ann Lee", photos / "a.jpg")
    has("secret two")
    assert enroll(client, "Bo", photos / "mirrored.jpg", force=True).status_code == 200
    assert enroll(client, "Ann Lee", photos / "mirrored.jpg", force=True).status_code == 409
    assert client.delete("/v1/people/Ann%20Lee").status_code == 200
    has("wrong")
    assert client.delete("/v1/people/Bo").status_code == 401
    here, _ = made()
    assert here.delete("/v1/people/Bo").status_code == 200
    with GalleryRecords(gallery, read_only=True) as records:
        entries = [(entry.action, entry.person, entry.by) for entry in records.audit_entries()]
    assert entries == [
        ("add", 1, "door"), ("add", 2, "desk"), ("remove", 1, "desk"), ("remove", 2, None),
    ]  # fmt: skip


def test_claims_and_searches_are_audited_where_that_is_set(
    made: Callable, tokens: Path, photos: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(client: TestClient) -> list[int]:
        sent = {"photo": (photos / "a.jpg").read_bytes()}
        asked = [("verify", {"name": "Ann Lee"}), ("verify", {"name": "Bo"}), ("identify", {})]
        answers = [client.post(f"/v1/{what}", files=sent, data=said) for what, said in asked]
        return [answer.status_code for answer in answers]

    client, _ = made()
    assert enroll(client, "Ann Lee", photos / "a.jpg").status_code == 200
    assert ask(client) == [200, 404, 200]
    client, _ = made(audit_reads=True, tokens=read_tokens(tokens))
    client.headers["authorization"] = "Bearer secret two"
    assert ask(client) == [200, 404, 200]
    monkeypatch.setattr("facekd.gallery.database.BUSY_SECONDS", 0.02)
    with closing(sqlite3.connect(gallery, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert ask(client) == [503, 503, 503]
        other.execute("ROLLBACK")
    with GalleryRecords(gallery, read_only=True) as records:
        found = [(entry.action, entry.person, entry.result, entry.by) for entry in records.read_entries()]
    assert found == [
        ("claim", 1, "same", "desk"), ("claim", 0, "failed", "desk"), ("search", 1, "found", "desk"),
    ]  # fmt: skip


def test_every_token_is_compared_in_constant_time(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever token is right, or none: all are compared, as hashes."""
    known, compared = read_tokens(tokens), []
    whole = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one) == len(other) == 32)
        return whole(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    found = [bearer(known, f"Bearer {token}") for token in ("secret one", "secret two", "else")]
    assert found == ["door", "desk", None]
    assert compared == [True] * 6


@pytest.mark.parametrize(
    "text", ["", "# nobody\n", "door:secret\n", "door\n", "a b:" + "0" * 64, "door:" + "0" * 63]
)
def test_what_is_no_list_of_tokens(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text(text)
    with pytest.raises(Unreadable) as caught:
        read_tokens(file)
    # it may be a token that was not hashed
    assert "secret" not in str(caught.value)
    with pytest.raises(InputOutput):
        read_tokens(tmp_path / "absent")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1", "", "["]
)
def test_another_name_for_this_machine_is_refused(client, host: str) -> None:
    """A page whose host name resolves to 127.0.0.1 after it was loaded."""
    answer = client.get("/v1/people", headers={"host": host})
    assert (answer.status_code, answer.json()["failure"]["reason"]) == (403, "host")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "127.1.2.3"])
def test_names_of_this_machine_are_taken(client, host: str) -> None:
    assert client.get("/v1/people", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:1"},
        {"origin": "https://127.0.0.1"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
    ],
)  # fmt: skip
def test_a_page_from_elsewhere_is_refused(client, photos: Path, headers: dict[str, str]) -> None:
    files = [("photos", ("a.jpg", (photos / "a.jpg").read_bytes()))]
    answer = client.post("/v1/people/Ann/photos", files=files, headers=headers)
    assert (answer.status_code, answer.json()["failure"]["reason"]) == (403, "origin")
    assert client.get("/v1/people").json()["people"] == []


def test_its_own_page_is_not(client) -> None:
    own = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert client.get("/v1/people", headers=own).status_code == 200


def test_other_machines_need_tokens(tmp_path: Path, tokens: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.0.1", "example.org", ""):
        with pytest.raises(UsageError, match="other machines"):
            ServiceSettings(tmp_path / "g.db", host=host)
        ServiceSettings(tmp_path / "g.db", host=host, tokens=read_tokens(tokens))
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"))
