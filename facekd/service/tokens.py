"""Bearer tokens, of which the service stores only the hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from facekd.errors import Unreadable
from facekd.files import read_bounded

#: bytes of the largest token file: ten thousand tokens
_LIMIT = 1_000_000
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<hash>[0-9a-fA-F]{64})")
_FORM = (
    "A line has a name, a colon and the SHA-256 of the token in hexadecimal digits, as "
    "printf %s TOKEN | sha256sum prints it."
)


@dataclass(frozen=True)
class Token:
    """A token by its ``name``, which the log shows, and its SHA-256 ``digest``."""

    name: str
    digest: bytes


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens in a file of lines ``name:sha256``; empty lines and comments from # on are skipped. Several
    lines may have the same name, so that a token can be replaced while the old one is still valid.

    Raises what `read_bounded` raises, and `Unreadable` for an invalid line, which it names, or a file
    without tokens.
    """
    content = read_bounded(path, _LIMIT)
    found = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            # never quote the line: it may be a token that was not hashed
            raise Unreadable(f"{path}, line {number}: not name:sha256", _FORM)
        found.append(Token(match["name"], bytes.fromhex(match["hash"])))
    if not found:
        raise Unreadable(f"{path}: no tokens in this file", _FORM)
    return tuple(found)


def bearer(tokens: Iterable[Token], authorization: str | None) -> str | None:
    """The name of the token in an ``Authorization`` header; `None` if it contains no known token. Takes the
    same time whatever the header contains."""
    scheme, _, given = (authorization or "").partition(" ")
    digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
    name = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            name = token.name
    return name if scheme.lower() == "bearer" else None
