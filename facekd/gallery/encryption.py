"""Encryption of templates at rest: AES-256-GCM, with a nonce for each, bound to their row and person.

Neither key nor passphrase is in the file. From the key (`keys`) and the gallery's random salt, HKDF-SHA256
derives the key of the templates and, separately, a value that reveals a wrong key before anything is read. A
stored embedding consists of its nonce (12 bytes, random), the ciphertext and the tag (16 bytes); the
associated data is what the row's checksum covers (`row_said`).

Sources: NIST SP 800-38D (GCM; random nonces of 96 bits allow 2^32 encryptions with one key), RFC 5869 (HKDF).
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from facekd.errors import NoKey, Unreadable, UsageError, WrongKey
from facekd.gallery import database
from facekd.gallery.engine import Connection
from facekd.gallery.keys import KeySource, key_id
from facekd.gallery.migrations import ENCRYPTION_SINCE, schema_of
from facekd.gallery.names import shown
from facekd.gallery.place import Place
from facekd.gallery.template_rows import Owner, TemplateRows

SCHEME = "AES-256-GCM/1"
NONCE_BYTES, TAG_BYTES = 12, 16
_SALT_BYTES = 32
_CHECK_BYTES = 16
#: templates that are re-encrypted at a time
_BLOCK = 1000
_GIVE = "Give it with --key-file, FACEKD_GALLERY_KEY_FILE, FACEKD_GALLERY_KEY or FACEKD_GALLERY_KEY_COMMAND."


@dataclass(frozen=True)
class Encryption:
    """How a gallery is encrypted, as stored in it: the ``scheme``, the ``salt`` (hexadecimal), the id of the
    key (`key_id`), and the ``check_value`` (hexadecimal) derived from key and salt."""

    scheme: str
    salt: str
    key_id: str
    check_value: str


class Cipher:
    """Encrypts and decrypts with a gallery's key."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aes = AESGCM(_derived(key, salt, "templates", 32))

    def encrypted(self, clear: bytes, said: bytes) -> bytes:
        """``clear``, encrypted and bound to ``said``."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, clear, said)

    def decrypted(self, blob: bytes, said: bytes) -> bytes | None:
        """The decrypted bytes; `None` if they were changed, or are bound to something else."""
        from cryptography.exceptions import InvalidTag

        if len(blob) < NONCE_BYTES + TAG_BYTES:
            return None
        try:
            return self._aes.decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], said)
        except InvalidTag:
            return None


def check_encryptable(place: Place) -> None:
    """Raise `UsageError` for a database."""
    if not isinstance(place, Path):
        raise _files_only(place, "facekd encrypts galleries in files, not in a database")


def check_key(place: Place, key: KeySource | None) -> None:
    """Raise `UsageError` if a ``key`` is given for a database: the caller must not believe that the templates
    there are encrypted."""
    if key is not None and not isinstance(place, Path):
        raise _files_only(
            place, f"facekd encrypts galleries in files, not in a database, but a key is given ({key.told})"
        )


def _files_only(place: Place, cause: str) -> UsageError:
    return UsageError(
        f"{place}: {cause}", "Give no key, and protect the server by disk encryption, TLS and roles."
    )


def stated_in(db: sqlite3.Connection, path: Path) -> Encryption | None:
    """The encryption stored in the gallery ``db`` at ``path``; `None` if it is not encrypted."""
    if schema_of(db) < ENCRYPTION_SINCE:
        return None
    rows = db.execute("SELECT scheme, salt, key_id, check_value FROM encryption").fetchall()
    if not rows:
        return None
    if len(rows) > 1 or not all(isinstance(value, str) for value in rows[0]):
        raise database.damaged(path, "its encryption settings cannot be read")
    return Encryption(*rows[0])


def cipher_of(stated: Encryption | None, path: Place, source: KeySource | None) -> Cipher | None:
    """The cipher of the templates of the gallery at ``path``; `None` if it is not encrypted.

    Raises `NoKey` and `WrongKey`, and `UsageError` for an unencrypted gallery if a key is given: the caller
    must not read or write a plain file unintentionally.
    """
    if stated is None:
        if source is not None:
            raise UsageError(
                f"{path} is not encrypted, but a key is given ({source.told})",
                "Encrypt it: facekd gallery encrypt; or give no key.",
            )
        return None
    if stated.scheme != SCHEME:
        raise Unreadable(
            f"{path}: encrypted with {stated.scheme[:40]!a}; this facekd knows {SCHEME}",
            "Use a newer facekd.",
        )
    if source is None:
        raise NoKey(f"{path} is encrypted, and no key is given", _GIVE)
    salt = _salt(stated, path)
    # a key that was read earlier may have been replaced since, together with the gallery's
    key = next((key for key in _keys(source) if _check_value(key, salt) == stated.check_value), None)
    if key is None:
        raise WrongKey(
            f"{path}: this is not its key ({source.told} has the id {key_id(source.key())}, "
            f"the gallery's key {shown(stated.key_id[:16])})",
            "Give the key with that id.",
        )
    return Cipher(key, salt)


def new(source: KeySource) -> tuple[Encryption, Cipher]:
    """A new encryption with the key of ``source``."""
    key, salt = source.key(), secrets.token_bytes(_SALT_BYTES)
    return Encryption(SCHEME, salt.hex(), key_id(key), _check_value(key, salt)), Cipher(key, salt)


def state(db: Connection, stated: Encryption | None) -> None:
    """Store how a gallery is encrypted, or that it is not."""
    db.execute("DELETE FROM encryption")
    if stated is not None:
        db.execute(
            "INSERT INTO encryption (scheme, salt, key_id, check_value) VALUES (?, ?, ?, ?)", astuple(stated)
        )


def rewrite(db: sqlite3.Connection, path: Path, before: TemplateRows, after: TemplateRows) -> int:
    """Rewrite all templates from the form ``before`` to the form ``after``; return their number. Raises
    `Unreadable` for a damaged template, which could neither be encrypted nor be left as it is."""
    count = 0
    for block in _blocks(db):
        changed = []
        for number, uid, name, *row in block:
            owner = Owner(uid, name)
            found = after.taken_over(before, owner, owner, *row)
            if found is None:
                raise database.damaged(path, "a template cannot be read; 'facekd gallery check' names it")
            changed.append((*found, number))
        db.executemany("UPDATE templates SET embedding = ?, checksum = ? WHERE id = ?", changed)
        count += len(changed)
    if count != db.execute("SELECT count(*) FROM templates").fetchone()[0]:
        raise database.damaged(path, "a template has no person")
    return count


def _blocks(db: sqlite3.Connection) -> Iterator[list[tuple[Any, ...]]]:
    """All templates with their people, in several queries, because they are changed during the iteration."""
    last = -1
    while rows := db.execute(
        "SELECT templates.id, uid, name, photo, embedding, quality, enrolled, checksum FROM templates"
        " JOIN people ON people.id = person WHERE templates.id > ? ORDER BY templates.id LIMIT ?",
        (last, _BLOCK),
    ).fetchall():
        yield rows
        last = rows[-1][0]


def _keys(source: KeySource) -> Iterator[bytes]:
    yield source.key()
    yield source.key(again=True)


def _salt(stated: Encryption, path: Place) -> bytes:
    try:
        return bytes.fromhex(stated.salt)
    except ValueError:
        raise database.damaged(path, "its encryption settings cannot be read") from None


def _check_value(key: bytes, salt: bytes) -> str:
    return _derived(key, salt, "check", _CHECK_BYTES).hex()


def _derived(key: bytes, salt: bytes, purpose: str, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = f"facekd gallery {SCHEME} {purpose}".encode()
    return HKDF(SHA256(), length, salt, info).derive(key)
