"""An index on a Milvus server: its address, its token, and a server that fails."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from milvus_server import MilvusServer, why_not

from facekd.errors import InputOutput, UsageError
from facekd.gallery import IndexStamp, MilvusIndex, milvus_index
from facekd.gallery.milvus import connecting
from facekd.gallery.milvus.connecting import milvus_address, token_of_environment
from facekd.gallery.milvus.milvus_index import collection_name

DIM = 8
SPACE = "c" * 64
STAMP = IndexStamp(SPACE, "state", 8)
TOKEN = "root:s3cret-of-milvus"
ROWS = np.eye(DIM, dtype=np.float32)
IDS = [f"person-{number}" for number in range(DIM)]

needs_client = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class TestAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "http://localhost:19530", "http://127.0.0.1:19530", "http://127.8.8.8", "https://milvus.example.org",
            "https://milvus.example.org:19530/faces", "https://10.0.0.8:19530/",
        ],
    )  # fmt: skip
    def test_what_is_allowed(self, url: str) -> None:
        assert str(milvus_address(url)) == url

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("http://milvus.example.org:19530", "http is not encrypted"),
            ("http://10.0.0.8:19530", "http is not encrypted"),
            ("http://localhost.example.org", "http is not encrypted"),
            ("index.db", "not the URL"),
            ("./index.db", "not the URL"),
            ("tcp://localhost:19530", "not the URL"),
            ("unix:/run/milvus.sock", "not the URL"),
            ("https://", "not the URL"),
            ("", "not the URL"),
            ("http://[::1]:19530", "does not accept IPv6"),
            ("https://milvus.example.org/one/two", "name of a database"),
            ("https://milvus.example.org/../two", "name of a database"),
        ],
    )
    def test_what_is_refused(self, url: str, told: str) -> None:
        with pytest.raises(UsageError, match=told):
            milvus_address(url)

    @pytest.mark.parametrize(
        "url",
        [
            "https://root:s3cret@milvus.example.org", "https://:s3cret@milvus.example.org",
            "https://s3cret@milvus.example.org", "https://milvus.example.org:s3cret",
            "https://milvus.example.org/?token=s3cret", "https://milvus.example.org/#s3cret",
            "https://root:s3cret@[milvus", "http://root:s3cret@localhost",
        ],
    )  # fmt: skip
    def test_a_secret_in_it_is_refused_and_not_shown(self, url: str) -> None:
        with pytest.raises(UsageError) as raised:
            milvus_address(url)
        assert "s3cret" not in str(raised.value)


class TestToken:
    def test_it_comes_from_a_file_before_the_environment(self, tmp_path: Path) -> None:
        assert token_of_environment({}) is None
        assert token_of_environment({"FACEKD_MILVUS_TOKEN": TOKEN}) == TOKEN
        file = tmp_path / "token"
        file.write_text(f"{TOKEN}\n")
        file.chmod(0o600)
        environ = {"FACEKD_MILVUS_TOKEN": "other", "FACEKD_MILVUS_TOKEN_FILE": str(file)}
        assert token_of_environment(environ) == TOKEN

    def test_a_file_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text(TOKEN)
        file.chmod(0o640)
        with pytest.raises(UsageError, match="token file") as raised:
            token_of_environment({"FACEKD_MILVUS_TOKEN_FILE": str(file)})
        assert TOKEN not in str(raised.value)

    def test_a_file_that_is_empty_or_missing_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        with pytest.raises(UsageError, match="no such token file"):
            token_of_environment({"FACEKD_MILVUS_TOKEN_FILE": str(file)})
        file.touch(mode=0o600)
        with pytest.raises(UsageError, match="empty"):
            token_of_environment({"FACEKD_MILVUS_TOKEN_FILE": str(file)})


def test_without_pymilvus_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pymilvus", raising=False)
    monkeypatch.setattr(connecting.importlib, "import_module", _missing)
    with pytest.raises(UsageError, match=r"facekd\[milvus\]"):
        milvus_index("http://localhost:19530", SPACE, DIM, "gallery")
    assert "PYTHON_DOTENV_DISABLED" not in os.environ


def _missing(name: str) -> None:
    raise ModuleNotFoundError(f"No module named {name!r}")


def test_collections_are_of_a_space_and_a_gallery() -> None:
    names = {collection_name(space, gallery) for space in ("a" * 64, "b" * 64) for gallery in "xy"}
    assert len(names) == 4
    assert all(name.isascii() and name.isidentifier() and len(name) < 255 for name in names)


def opened(server: MilvusServer, token: str | None = None) -> closing[MilvusIndex]:
    return closing(MilvusIndex(milvus_address(server.uri), "facekd_test", DIM, lambda: token))


def test_a_server_that_goes_away_and_comes_back(
    own_server: MilvusServer, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(own_server) as index:
        index.build([(IDS, ROWS)], STAMP)
        own_server.stop()
        for ask in (
            index.stamp,
            lambda: index.candidates(ROWS, 1),
            lambda: index.put(IDS, ROWS, STAMP),
            lambda: index.remove(IDS[:1], STAMP),
            lambda: index.build([(IDS, ROWS)], STAMP),
        ):
            started = time.monotonic()
            with pytest.raises(InputOutput, match=f"{own_server.uri}: the server cannot be reached"):
                ask()
            assert time.monotonic() - started < 2 * (connecting.CONNECT_SECONDS + connecting.REQUEST_SECONDS)
        own_server.start()
        assert index.stamp() == STAMP
        assert index.candidates(ROWS, 1) == [[one] for one in IDS]


@needs_client
def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = milvus_index(f"http://127.0.0.1:{silent.getsockname()[1]}", SPACE, DIM, "gallery")
        started = time.monotonic()
        with pytest.raises(InputOutput, match="cannot be reached") as raised:
            index.stamp()
        assert raised.value.exit_code == 5
        assert time.monotonic() - started < 10


@needs_client
def test_a_build_may_take_as_long_as_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph of millions takes hours; an hour without a finished segment is a fault."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda _: clock.__setitem__(0, clock[0] + 1800))
    left: Iterator[int] = iter([900, 900, 600, 600, 300, 300, 0])
    index = milvus_index("http://localhost:1", SPACE, DIM, "gallery")

    def told(*_: object, **__: object) -> dict[str, object]:
        return {"state": "Finished", "pending_index_rows": next(left)}

    monkeypatch.setattr(index, "_asking", lambda: nullcontext(SimpleNamespace(describe_index=told)))
    index._wait_for_graph()
    assert clock[0] == 3 * 3600
    left = itertools.repeat(600)
    with pytest.raises(InputOutput, match="nothing was indexed for an hour; 600 rows are left"):
        index._wait_for_graph()


def test_a_lost_index_is_said_to_be_lost(own_server: MilvusServer) -> None:
    with opened(own_server) as index, opened(own_server) as other:
        index.build([(IDS, ROWS)], STAMP)
        assert other.candidates(ROWS[:1], 1) == [IDS[:1]]
        index.drop()
        for ask in (lambda: other.candidates(ROWS, 1), lambda: other.put(IDS, ROWS, STAMP)):
            with pytest.raises(InputOutput, match="no index of this gallery"):
                ask()
        other.remove(IDS[:1], STAMP)  # from which everybody is gone
        assert other.stamp() is None


def test_a_token_that_is_not_known_is_refused_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    if why_not():
        pytest.skip(str(why_not()))
    with closing(MilvusServer(TOKEN)) as server:
        with opened(server, TOKEN) as index:
            assert index.stamp() is None
            assert TOKEN not in repr(index)
        with caplog.at_level(logging.DEBUG):
            for wrong in (None, "root:wr0ng-of-milvus"):
                with opened(server, wrong) as index:
                    with pytest.raises(InputOutput, match="does not accept this token") as raised:
                        index.stamp()
                    assert "wr0ng" not in str(raised.value) + repr(index)
        assert "wr0ng" not in caplog.text
        assert "root:wr0ng-of-milvus" in server.tokens


@needs_client
def test_a_message_of_the_server_that_repeats_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    address = milvus_address("https://milvus.example.org")
    for said in (TOKEN, "s3cret-of-milvus"):
        told = connecting.in_words(address, RuntimeError(f"what about {said}?"), TOKEN)
        assert str(told) == "https://milvus.example.org: what about (token)?"


@needs_client
def test_a_proxy_gets_nothing_that_is_not_encrypted(
    milvus_server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with opened(milvus_server, TOKEN) as index:
        assert index.stamp() is None
    assert milvus_server.tokens[-1] == TOKEN


@needs_client
@pytest.mark.parametrize(
    ("moment", "asked"), [(7, ("Customized", 7)), (0, ("Strong", None))], ids=["told", "not told"]
)
def test_a_question_waits_for_the_last_change_alone(
    milvus_server: MilvusServer, monkeypatch: pytest.MonkeyPatch, moment: int, asked: tuple[str, int | None]
) -> None:
    from pymilvus.client.grpc_handler import GrpcHandler

    seen = []
    client = connecting.library().MilvusClient
    monkeypatch.setattr(GrpcHandler, "alloc_timestamp", lambda *_, **__: moment)
    for name in ("search", "query"):
        monkeypatch.setattr(client, name, _noting(getattr(client, name), seen))
    with opened(milvus_server) as index:
        index.build([(IDS, ROWS)], STAMP)
        assert index.stamp() == STAMP
        assert index.candidates(ROWS, 1) == [[one] for one in IDS]
        assert seen == [asked, asked]
        # as an older facekd writes it, after a change whose moment it does not keep
        with closing(client(milvus_server.uri)) as older:
            older.alter_collection_properties(index.collection, {"facekd.state": "next"})
        index.candidates(ROWS, 1)
        assert seen[2:] == [("Strong", None)]
        index.drop()


def _noting(method: Callable[..., Any], seen: list[tuple[str, int | None]]) -> Callable[..., Any]:
    def noted(*arguments: Any, **options: Any) -> Any:
        seen.append((options["consistency_level"], options.get("guarantee_timestamp")))
        return method(*arguments, **options)

    return noted


@needs_client
def test_ids_that_would_be_a_query(milvus_server: MilvusServer) -> None:
    """pymilvus puts ids between quotes without a look at them."""
    with opened(milvus_server) as index:
        index.build([(IDS, ROWS)], STAMP)
        for ids in (["x'] or person != '"], [""], ["n" * 65], ["\u00e9"]):
            with pytest.raises(ValueError, match="id"):
                index.remove(ids, STAMP)
            with pytest.raises(ValueError, match="id"):
                index.put(ids, ROWS[:1], STAMP)
        assert index.stamp() == STAMP
        index.drop()


@needs_client
@pytest.mark.parametrize("rows", [ROWS[:1, :7], ROWS[0], ROWS[:1] * np.nan, ROWS[:2]])
def test_rows_that_do_not_fit(milvus_server: MilvusServer, rows: np.ndarray) -> None:
    with opened(milvus_server) as index:
        index.build([], STAMP)
        with pytest.raises(ValueError, match=r"finite and|people, but"):
            index.put(IDS[:1], rows, STAMP)
        index.drop()


_ASKS = """
import sys
from facekd.gallery import MilvusIndex
from facekd.gallery.milvus.connecting import milvus_address

for url in sys.argv[1:]:
    try:
        print(MilvusIndex(milvus_address(url), "facekd_test", 8).stamp())
    except Exception as error:
        print(error)
"""


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """Before the token is sent; and nothing but the answers is printed."""
    if why_not():
        pytest.skip(str(why_not()))
    pytest.importorskip("cryptography")
    key, certificate = self_signed()
    roots = tmp_path / "roots.pem"
    roots.write_bytes(certificate)
    environ = {"FACEKD_MILVUS_TOKEN": TOKEN, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots)}
    with (
        closing(MilvusServer(TOKEN, (key, certificate))) as known,
        closing(MilvusServer(TOKEN, self_signed())) as stranger,
    ):
        ran = subprocess.run(
            [sys.executable, "-c", _ASKS, known.uri, stranger.uri],
            env={**os.environ, **environ}, text=True, capture_output=True, timeout=100, check=True,
        )  # fmt: skip
        answers = ran.stdout.splitlines()
        assert answers[0] == "None"
        assert answers[1].startswith(f"{stranger.uri}: the server cannot be reached")
        assert "certificate authority" in answers[2]
        assert ran.stderr == ""
        assert set(known.tokens) == {TOKEN}
        assert stranger.tokens == []


def self_signed() -> tuple[bytes, bytes]:
    """A key, and a certificate of ``localhost``, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )
