"""The place of a gallery: a file, or a database of a PostgreSQL server."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from facekd.errors import UsageError
from facekd.files import users_gallery

#: parameters of a URL that are secret
_SECRETS = {"password", "sslpassword"}
_KEEP_IT_OUT = (
    "Keep it in ~/.pgpass (PGPASSFILE), PGPASSWORD or a service file. Other users of this machine may have "
    "seen a password that was part of a command: change it."
)


@dataclass(frozen=True)
class ServerAddress:
    """A database by its ``url``, ``postgresql://USER@HOST:PORT/DATABASE?PARAMETER=VALUE``, as read by libpq.
    It never contains a password, so it may be shown."""

    url: str

    @property
    def name(self) -> str:
        """The name of the database, without its server."""
        return unquote(urlsplit(self.url).path.strip("/")) or "gallery"

    def __str__(self) -> str:
        return self.url


Place = Path | ServerAddress


def gallery_place(named: str | os.PathLike[str] | ServerAddress) -> Place:
    """The place that ``named`` means: a URL that begins with ``postgresql://`` or ``postgres://`` is a
    server, anything else a file.

    Raises `UsageError` for a URL that contains a password, which would be visible in process lists and in
    answers.
    """
    if isinstance(named, ServerAddress):
        return named
    text = os.fspath(named)
    if not re.match("postgres(ql)?:/", text):
        return Path(named)
    if not re.match("postgres(ql)?://", text):  # `Path` reduces two slashes to one
        raise UsageError("the URL of a database is not a path", "Pass it as a string, with two slashes.")
    try:
        parts = urlsplit(text)
        secret = parts.password or _SECRETS & {key for key, _ in parse_qsl(parts.query)}
    except ValueError:  # none of it is shown: it may contain a password
        raise UsageError("the URL of the database cannot be read") from None
    if secret:
        raise UsageError("the URL of the database contains a password", _KEEP_IT_OUT)
    return ServerAddress(text)


def default_place() -> Place:
    """The gallery of a call that names none: ``FACEKD_GALLERY``, otherwise one in the user's data folder."""
    named = os.environ.get("FACEKD_GALLERY")
    return gallery_place(named) if named else users_gallery()


def is_loopback(host: str) -> bool:
    """Whether a ``host``, by its name or address, is reached without leaving this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
