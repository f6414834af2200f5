"""Connecting to a Milvus server: encrypted, in bounded time; and its failures put into words."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from facekd.errors import FacekdError, InputOutput, UsageError
from facekd.gallery.keys import read_private
from facekd.gallery.place import is_loopback

#: how long connecting, and one question to the server, may take
CONNECT_SECONDS, REQUEST_SECONDS = 5, 10

#: what gives the token when a connection is made; `None` where the server asks for none
TokenSource = Callable[[], str | None]

_KEEP_IT_IN = (
    "Keep USER:PASSWORD or the API key in a file (FACEKD_MILVUS_TOKEN_FILE) or in FACEKD_MILVUS_TOKEN."
)
_FORM = "Give https://HOST:PORT, or http://localhost:PORT for a server on this machine."
_DATABASE = re.compile(r"/?|/[A-Za-z_][A-Za-z0-9_]{0,254}/?")
_AUTHORITY = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=FILE names the authority that vouches for it, in PEM."
BUILD_IT = "Build it: facekd gallery index"
#: the number of the error, in Milvus and in pymilvus
_NO_COLLECTION = 100
#: what servers say of who asks, in any case
_UNKNOWN_USER = ("unauthenticated", "auth check failure", "invalid credential", "incorrect password")
_NOT_ALLOWED = ("permission deny", "permission_denied", "permission denied", "no privilege")
_AWAY = (
    "unavailable", "deadline_exceeded", "deadline exceeded", "timeout", "fail connecting", "cancelled",
    "not ready", "closed channel", "failed to connect", "no available",
)  # fmt: skip


@dataclass(frozen=True)
class MilvusAddress:
    """A server by its ``url``, ``https://HOST:PORT/DATABASE``; there is never a password in it, so it may be
    shown. Port 443 of https and 19530 of http, and the database ``default``, need not be named."""

    url: str

    @property
    def encrypted(self) -> bool:
        return self.url.startswith("https:")

    def __str__(self) -> str:
        return self.url


def milvus_address(named: str) -> MilvusAddress:
    """What ``named`` means.

    Raises `UsageError` for what is no such URL, for one that holds a password, and where the connection to
    another machine would not be encrypted.
    """
    try:
        parts = urlsplit(named)
        has_secret = parts.username is not None or parts.password is not None
        host, _ = parts.hostname, parts.port
    except ValueError:  # nothing of it is shown: there may be a password in it
        raise UsageError("the URL of the Milvus server cannot be read", _FORM) from None
    if has_secret:
        raise UsageError(
            "the URL of the Milvus server holds a password",
            f"{_KEEP_IT_IN} A password that stood in a command may have been seen by other users of this "
            "machine: change it.",
        )
    if parts.query or parts.fragment:  # nor of this: it may be an API key
        raise UsageError("the URL of the Milvus server has parameters, of which there are none", _FORM)
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{named}: not the URL of a Milvus server", _FORM)
    if ":" in host:
        raise UsageError(f"{named}: pymilvus reads no IPv6 addresses", "Give the host by its name.")
    if not _DATABASE.fullmatch(parts.path):
        raise UsageError(f"{named}: a path in it is the name of one database", _FORM)
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"{named}: another machine, and http is not encrypted", "Turn TLS on there and give https://."
        )
    return MilvusAddress(named)


def token_of_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """The content of the file that ``FACEKD_MILVUS_TOKEN_FILE`` names, else ``FACEKD_MILVUS_TOKEN``: an API
    key, or ``USER:PASSWORD``; `None` where neither is set.

    Raises `UsageError` for a file that is not there, empty, or may be read by others; `InputOutput` where it
    cannot be read.
    """
    file = environ.get("FACEKD_MILVUS_TOKEN_FILE")
    if not file:
        return environ.get("FACEKD_MILVUS_TOKEN") or None
    token = read_private(Path(file), "token file", _KEEP_IT_IN).decode("utf-8", "replace").strip()
    if not token:
        raise UsageError(f"{file}: this token file is empty", _KEEP_IT_IN)
    return token


def library() -> Any:
    """pymilvus. Raises `UsageError` where it is not installed."""
    if "pymilvus" not in sys.modules:
        _import_quietly()
    return importlib.import_module("pymilvus")


def _import_quietly() -> None:
    """Import pymilvus as facekd uses it: without its own log and that of gRPC, since facekd says itself what
    failed, and without the settings of a file ``.env`` that lies in a folder above it."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    before = os.environ.get("PYTHON_DOTENV_DISABLED")
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    try:
        importlib.import_module("pymilvus")
    except ImportError as error:
        raise UsageError(
            f"an index in Milvus needs pymilvus ({error})", "Install it: pip install 'facekd[milvus]'"
        ) from error
    finally:
        del os.environ["PYTHON_DOTENV_DISABLED"]
        if before is not None:
            os.environ["PYTHON_DOTENV_DISABLED"] = before
    for name in ("pymilvus", "pymilvus.milvus_client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def connect(address: MilvusAddress, secret: str = "") -> Any:
    """A `pymilvus.MilvusClient` with a connection of its own, for the token ``secret``. Raises `InputOutput`,
    and as `library` does."""
    pymilvus = library()
    # a server that came back is not kept waiting for by what another connection met before
    options = {"grpc.use_local_subchannel_pool": 1}
    if not address.encrypted:
        # a proxy of the environment would carry it to another machine
        options["grpc.enable_http_proxy"] = 0
    with explained(address, secret):
        return pymilvus.MilvusClient(
            uri=address.url, token=secret, timeout=CONNECT_SECONDS, dedicated=True, grpc_options=options
        )


@contextmanager
def explained(address: MilvusAddress, secret: str = "") -> Iterator[None]:
    """Turn the server's failures into `InputOutput`, without the token ``secret``."""
    import grpc

    try:
        yield
    except (library().MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
        # not from it: pymilvus makes an error its own cause, in which others would look for one without end
        raise in_words(address, error, secret) from None


def in_words(address: MilvusAddress, error: BaseException, secret: str = "") -> FacekdError:
    """What to raise for ``error``."""
    if getattr(error, "code", None) == _NO_COLLECTION:
        return no_index(address)
    code, said = _said(error)
    text = _without(secret, said)
    found = f"{code} {text}".lower()
    if any(words in found for words in _UNKNOWN_USER):
        return InputOutput(f"{address}: the server does not accept this token", _KEEP_IT_IN)
    if any(words in found for words in _NOT_ALLOWED):
        return InputOutput(
            f"{address}: this user may not do that",
            "Its administrator grants the privileges that docs/search-indexes.md lists.",
        )
    if any(words in found for words in _AWAY):
        fix = _AUTHORITY if "certificate" in found else "Try again."
        return InputOutput(f"{address}: the server cannot be reached, or went away ({text})", fix)
    return InputOutput(f"{address}: {text}")


def no_index(address: MilvusAddress) -> InputOutput:
    return InputOutput(f"{address}: there is no index of this gallery", BUILD_IT)


def _said(error: BaseException) -> tuple[str, str]:
    """What gRPC says that ``error`` comes from, by the name of its status and in words; else what it says
    itself."""
    import grpc

    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, grpc.RpcError) and isinstance(cause, grpc.Call):
            return cause.code().name, cause.details() or ""
        seen.add(id(cause))
        cause = cause.__context__
    return "", str(getattr(error, "message", "") or error)


def _without(secret: str, said: str) -> str:
    """``said`` on one line. No server is known to repeat a token; none gets it shown if it does."""
    for part in filter(None, (secret, secret.partition(":")[2])):  # the whole first
        said = said.replace(part, "(token)")
    return " ".join(said.split())[:400]
