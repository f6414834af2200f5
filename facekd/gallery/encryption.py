"""Encryption of templates at rest, by AES-256-GCM with a nonce for each, which is bound to the rest of its
row and to the person; on request also of people's names (`stored_names`).

The gallery contains neither key nor passphrase. From the key (`keys`) and the gallery's random salt,
HKDF-SHA256 derives the key of the templates, those of the names and, independent of them, a value that
reveals a wrong key before anything is read. A stored embedding is its nonce (12 bytes, random), the
ciphertext and the tag (16 bytes); the associated data is what the row's checksum covers (`row_said`).

Sources: NIST SP 800-38D (GCM; random nonces of 96 bits allow 2^32 encryptions with one key), RFC 5869 (HKDF).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from facekd.errors import InputOutput, NoKey, Unreadable, UsageError, WrongKey
from facekd.gallery import database
from facekd.gallery.engine import Connection, Engine, Row
from facekd.gallery.keys import KeySource, key_id
from facekd.gallery.migrations import ENCRYPTION_SINCE, NAMES_SINCE, SERVER_ENCRYPTION_SINCE
from facekd.gallery.names import shown
from facekd.gallery.place import Place
from facekd.gallery.stored_names import NameCipher, StoredNames
from facekd.gallery.template_rows import Owner, TemplateRows

SCHEME = "AES-256-GCM/1"
NONCE_BYTES, TAG_BYTES = 12, 16
_SALT_BYTES = 32
_CHECK_BYTES = 16
#: people whose templates are rewritten at a time
_BLOCK = 200
_GIVE = "Give it by --key-file, FACEKD_GALLERY_KEY_FILE, FACEKD_GALLERY_KEY or FACEKD_GALLERY_KEY_COMMAND."


@dataclass(frozen=True)
class Encryption:
    """How a gallery states that it is encrypted: the ``scheme``, the ``salt`` (hexadecimal), the id of the
    key (`key_id`), the ``check_value`` (hexadecimal) derived from key and salt, and whether ``names`` are
    encrypted too."""

    scheme: str
    salt: str
    key_id: str
    check_value: str
    names: bool = False


class Cipher:
    """Encrypts and decrypts with a gallery's key, with ``names`` also the names of people."""

    def __init__(self, key: bytes, salt: bytes, names: bool = False) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aes = AESGCM(_derived(key, salt, "templates", 32))
        keys = (_derived(key, salt, purpose, 32) for purpose in ("names", "lookup"))
        self.names = NameCipher(*keys) if names else None

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


def stated_in(db: Connection, path: Place, schema: int) -> Encryption | None:
    """How the gallery ``db`` at ``path``, of this ``schema``, states that it is encrypted; `None` if it is
    not."""
    if schema < (ENCRYPTION_SINCE if isinstance(path, Path) else SERVER_ENCRYPTION_SINCE):
        return None
    column = "names" if schema >= NAMES_SINCE else "0"
    rows = db.execute(f"SELECT scheme, salt, key_id, check_value, {column} FROM encryption").fetchall()
    if not rows:
        return None
    *texts, names = rows[0]
    if len(rows) > 1 or not all(isinstance(text, str) for text in texts) or names not in (0, 1):
        raise database.damaged(path, "its encryption settings cannot be read")
    return replace(Encryption(*texts), names=bool(names))


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
    # the gallery may have been given another key since the source was read
    fits = (key for key in _keys(source) if _check_value(key, salt, stated.names) == stated.check_value)
    key = next(fits, None)
    if key is None and key_id(source.key()) == stated.key_id:
        raise database.damaged(path, "its encryption settings are not what was written")
    if key is None:
        raise WrongKey(
            f"{path}: this is not its key ({source.told} has the id {key_id(source.key())}, "
            f"the gallery's key {shown(stated.key_id[:16])})",
            "Give the key with that id.",
        )
    return Cipher(key, salt, stated.names)


def names_of(cipher: Cipher | None) -> StoredNames:
    """How names are stored in a gallery with ``cipher``; in the clear if that is `None`."""
    return StoredNames(cipher.names if cipher else None)


def check_unchanged(file: Engine, stated: Encryption | None) -> None:
    """Raise `InputOutput` if the encryption of a gallery has changed since it was opened: what is read would
    be nonsense, and what is written might be in the clear."""
    if stated_in(file.db, file.path, file.schema) != stated:
        raise InputOutput(
            f"{file.path}: it was encrypted, decrypted or given another key in the meantime", "Try again."
        )


def new(source: KeySource, names: bool) -> tuple[Encryption, Cipher]:
    """Settings and cipher to encrypt a gallery with the key of ``source``, with ``names`` also the names."""
    key, salt = source.key(), secrets.token_bytes(_SALT_BYTES)
    stated = Encryption(SCHEME, salt.hex(), key_id(key), _check_value(key, salt, names), names)
    return stated, Cipher(key, salt, names)


def state(db: Connection, stated: Encryption | None) -> None:
    """Store how a gallery is encrypted, or that it is not."""
    db.execute("DELETE FROM encryption")
    if stated is not None:
        db.execute(
            "INSERT INTO encryption (scheme, salt, key_id, check_value, names) VALUES (?, ?, ?, ?, ?)",
            (*astuple(stated)[:-1], int(stated.names)),
        )


@dataclass(frozen=True)
class Writing:
    """How ``templates`` and ``names`` are stored."""

    templates: TemplateRows
    names: StoredNames


def rewrite(file: Engine, before: Writing, after: Writing) -> int:
    """Rewrite all templates and names from the form ``before`` to the form ``after``; return the number of
    templates. Raises `Unreadable` if one is not what was written, because it could neither be encrypted nor
    be left as it is; `UsageError` for a name that cannot be encrypted."""
    count = 0
    for people in _blocks(file):
        owners: dict[int, tuple[Owner, Owner]] = {}
        named = []
        for number, uid, stored in people:
            name = before.names.read(uid, stored)
            if name is None:
                raise file.damaged(f"the name of person {number} cannot be read")
            written, lookup = after.names.written(uid, name)
            owners[number] = Owner(uid, stored), Owner(uid, written)
            named.append((written, lookup, number))
        count += _rewrite_templates(file, before.templates, after.templates, owners)
        if before.names != after.names:
            file.rewrite_names(named)
    if file.rows("SELECT count(*) FROM templates") != [(count,)]:
        raise file.damaged("a template belongs to no person")
    return count


def _rewrite_templates(
    file: Engine, before: TemplateRows, after: TemplateRows, owners: dict[int, tuple[Owner, Owner]]
) -> int:
    """Rewrite the templates of the people in ``owners``: by number, their owner before and after. Nobody else
    has a number between the lowest and the highest. Return how many were rewritten."""
    changed = []
    for number, person, *row in file.rows(
        "SELECT id, person, photo, embedding, quality, enrolled, checksum FROM templates"
        " WHERE person >= ? AND person <= ?",
        min(owners), max(owners),
    ):  # fmt: skip
        found = after.taken_over(before, *owners[person], *row) if person in owners else None
        if found is None:
            raise file.damaged("a template cannot be read; 'facekd gallery check' names it")
        changed.append((*found, number))
    file.rewrite_templates(changed)
    return len(changed)


def _blocks(file: Engine) -> Iterator[list[Row]]:
    """Number, uid and stored name of all people; in several queries, because people are changed in
    between."""
    last = -1
    while rows := file.rows(
        "SELECT id, uid, name FROM people WHERE id > ? ORDER BY id LIMIT ?",
        last, _BLOCK, types=(int, str, str),
    ):  # fmt: skip
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


def _check_value(key: bytes, salt: bytes, names: bool) -> str:
    """Covers whether ``names`` are encrypted, so that nobody without the key can switch that off."""
    return _derived(key, salt, "check names" if names else "check", _CHECK_BYTES).hex()


def _derived(key: bytes, salt: bytes, purpose: str, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = f"facekd gallery {SCHEME} {purpose}".encode()
    return HKDF(SHA256(), length, salt, info).derive(key)
