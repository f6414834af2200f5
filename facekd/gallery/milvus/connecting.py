"""Connect to a Milvus server: encrypted, within a time limit, with failures as clear errors."""

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

#: how long connecting, and one request to the server, may take
CONNECT_SECONDS, REQUEST_SECONDS = 5, 10

#: returns the token for a new connection; `None` if the server requires none
TokenSource = Callable[[], str | None]

_KEEP_IT_IN = (
    "Keep USER:PASSWORD or the API key in a file (FACEKD_MILVUS_TOKEN_FILE) or in FACEKD_MILVUS_TOKEN."
)
_FORM = "Give https://HOST:PORT, or http://localhost:PORT for a server on this machine."
_DATABASE = re.compile(r"/?|/[A-Za-z_][A-Za-z0-9_]{0,254}/?")
_AUTHORITY = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=FILE sets the certificate authority to trust, in PEM."
BUILD_IT = "Build it: facekd gallery index"
#: the code of this error, in Milvus and in pymilvus
_NO_COLLECTION = 100
#: what servers answer to an unknown user, in lower case
_UNKNOWN_USER = ("unauthenticated", "auth check failure", "invalid credential", "incorrect password")
_NOT_ALLOWED = ("permission deny", "permission_denied", "permission denied", "no privilege")
_AWAY = (
    "unavailable", "deadline_exceeded", "deadline exceeded", "timeout", "fail connecting", "cancelled",
    "not ready", "closed channel", "failed to connect", "no available",
)  # fmt: skip


@dataclass(frozen=True)
class MilvusAddress:
    """A server by its ``url``, ``https://HOST:PORT/DATABASE``. It never contains a password, so it may be
    shown. The port may be omitted if it is 443 (https) or 19530 (http), the database if it is ``default``."""

    url: str

    @property
    def encrypted(self) -> bool:
        return self.url.startswith("https:")

    def __str__(self) -> str:
        return self.url


def milvus_address(named: str) -> MilvusAddress:
    """The server that ``named`` means.

    Raises `UsageError` for anything but such a URL, for one that contains a password, and if the connection
    to another machine would not be encrypted.
    """
    try:
        parts = urlsplit(named)
        has_secret = parts.username is not None or parts.password is not None
        host, _ = parts.hostname, parts.port
    except ValueError:  # none of it is shown: it may contain a password
        raise UsageError("the URL of the Milvus server cannot be read", _FORM) from None
    if has_secret:
        raise UsageError(
            "the URL of the Milvus server contains a password",
            f"{_KEEP_IT_IN} Other users of this machine may have seen a password that was part of a "
            "command: change it.",
        )
    if parts.query or parts.fragment:  # not shown either: it may be an API key
        raise UsageError("the URL of the Milvus server has parameters; it takes none", _FORM)
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{named}: not the URL of a Milvus server", _FORM)
    if ":" in host:
        raise UsageError(f"{named}: pymilvus does not accept IPv6 addresses", "Use the name of the host.")
    if not _DATABASE.fullmatch(parts.path):
        raise UsageError(f"{named}: the path is more than the name of a database", _FORM)
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"{named}: on another machine, and http is not encrypted", "Enable TLS there and use https://."
        )
    return MilvusAddress(named)


def token_of_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """The content of the file named by ``FACEKD_MILVUS_TOKEN_FILE``, otherwise ``FACEKD_MILVUS_TOKEN``: an
    API key, or ``USER:PASSWORD``; `None` if neither is set.

    Raises `UsageError` for a file that does not exist, is empty, or can be read by others; `InputOutput` if
    it cannot be read.
    """
    file = environ.get("FACEKD_MILVUS_TOKEN_FILE")
    if not file:
        return environ.get("FACEKD_MILVUS_TOKEN") or None
    token = read_private(Path(file), "token file", _KEEP_IT_IN).decode("utf-8", "replace").strip()
    if not token:
        raise UsageError(f"{file}: the token file is empty", _KEEP_IT_IN)
    return token


def library() -> Any:
    """The module pymilvus. Raises `UsageError` if it is not installed."""
    if "pymilvus" not in sys.modules:
        _import_quietly()
    return importlib.import_module("pymilvus")


def _import_quietly() -> None:
    """Import pymilvus without its log and that of gRPC, because facekd reports failures itself, and without
    reading settings from a file ``.env`` in a parent folder."""
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
    """A `pymilvus.MilvusClient` with a connection of its own that uses the token ``secret``. Raises
    `InputOutput`, and as `library` does."""
    pymilvus = library()
    # otherwise a connection would share the back-off of earlier failed ones, although the server is back
    options = {"grpc.use_local_subchannel_pool": 1}
    if not address.encrypted:
        # a proxy set in the environment would send it over another machine
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
        # not `from error`: pymilvus makes an error its own cause, and following that would never end
        raise in_words(address, error, secret) from None


def in_words(address: MilvusAddress, error: BaseException, secret: str = "") -> FacekdError:
    """The error to raise for ``error``, without the token ``secret``."""
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
    return InputOutput(f"{address}: no index of this gallery", BUILD_IT)


def _said(error: BaseException) -> tuple[str, str]:
    """The status and the message of the gRPC error that caused ``error``, otherwise its own."""
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
    """``said`` on one line, without the token. No server is known to repeat it, but it must not be shown."""
    for part in filter(None, (secret, secret.partition(":")[2])):  # the whole token first
        said = said.replace(part, "(token)")
    return " ".join(said.split())[:400]
