"""Where a gallery is kept: in a file, or in a database of a PostgreSQL server."""

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
    "Keep it in ~/.pgpass (PGPASSFILE), PGPASSWORD or a service file. A password that stood in a command may "
    "have been seen by other users of this machine: change it."
)


@dataclass(frozen=True)
class ServerAddress:
    """A database by its ``url``, ``postgresql://USER@HOST:PORT/DATABASE?PARAMETER=VALUE``, as libpq reads it;
    there is never a password in it, so it may be shown."""

    url: str

    @property
    def name(self) -> str:
        """The database, without where it is."""
        return unquote(urlsplit(self.url).path.strip("/")) or "gallery"

    def __str__(self) -> str:
        return self.url


Place = Path | ServerAddress


def gallery_place(named: str | os.PathLike[str] | ServerAddress) -> Place:
    """What ``named`` means: a URL that begins with ``postgresql://`` or ``postgres://`` a server, anything
    else a file.

    Raises `UsageError` for a URL that holds a password: it would be seen in lists of processes, and is shown
    in answers.
    """
    if isinstance(named, ServerAddress):
        return named
    text = os.fspath(named)
    if not re.match("postgres(ql)?:/", text):
        return Path(named)
    if not re.match("postgres(ql)?://", text):  # a `Path` makes one slash of two
        raise UsageError("the URL of a database is no path", "Give it as a text, with two slashes.")
    try:
        parts = urlsplit(text)
        secret = parts.password or _SECRETS & {key for key, _ in parse_qsl(parts.query)}
    except ValueError:  # nothing of it is shown: there may be a password in it
        raise UsageError("the URL of the database cannot be read") from None
    if secret:
        raise UsageError("the URL of the database holds a password", _KEEP_IT_OUT)
    return ServerAddress(text)


def default_place() -> Place:
    """The gallery of whoever names none: ``FACEKD_GALLERY``, else one in the user's data folder."""
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
