"""Encrypt an existing gallery, change its key, or decrypt it: each in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from facekd.errors import NoKey, UsageError
from facekd.gallery import (
    NO_KEY,
    GalleryRecords,
    KeySource,
    Place,
    check_encryptable,
    key_id,
    key_in_use,
)


@dataclass(frozen=True)
class Rewritten:
    """How many ``templates`` were rewritten, and the id of the key that they are now encrypted with, empty if
    they are not. ``pending`` means that another program was reading the gallery: the old bytes are erased
    from the file when it has finished."""

    templates: int
    key_id: str
    pending: bool


def encrypt_gallery(gallery: Place, key: KeySource | None = None) -> Rewritten:
    """Encrypt a gallery with ``key``, by default `key_in_use`; no unencrypted template remains in its file.

    Raises `UsageError` for a database, or if the gallery is encrypted already; `NoKey` without a key; and
    what `GalleryRecords` raises.
    """
    check_encryptable(gallery)
    key = key_in_use(key)
    if key is None:
        raise NoKey(
            "no key was given to encrypt the gallery with",
            "Create one with 'facekd gallery new-key FILE' and give it with --key-file FILE.",
        )
    key.key()
    try:
        records = GalleryRecords(gallery, key=NO_KEY)
    except NoKey:
        raise UsageError(
            f"{gallery} is already encrypted", "To change its key: facekd gallery rotate-key"
        ) from None
    with records:
        return _rewrite(records, key)


def rotate_key(gallery: Place, new: KeySource, key: KeySource | None = None) -> Rewritten:
    """Encrypt a gallery, now encrypted with ``key`` (by default `key_in_use`), with the key ``new``.

    Raises `UsageError` for a database, or if the gallery is not encrypted or ``new`` is its key already; and
    what `GalleryRecords` raises.
    """
    with _encrypted(gallery, key) as records:
        if records.encryption is not None and records.encryption.key_id == key_id(new.key()):
            raise UsageError(f"{new.told}: this is already the gallery's key", "Create a new one.")
        return _rewrite(records, new)


def decrypt_gallery(gallery: Place, key: KeySource | None = None) -> Rewritten:
    """Store the templates of a gallery unencrypted; ``key``, by default `key_in_use`, is its present key.

    Raises `UsageError` for a database, or if the gallery is not encrypted; and what `GalleryRecords` raises.
    """
    with _encrypted(gallery, key) as records:
        return _rewrite(records, None)


def _encrypted(gallery: Place, key: KeySource | None) -> GalleryRecords:
    check_encryptable(gallery)
    records = GalleryRecords(gallery, key=key)
    if records.encryption is None:
        records.close()
        raise UsageError(f"{gallery} is not encrypted", "Encrypt it: facekd gallery encrypt")
    return records


def _rewrite(records: GalleryRecords, key: KeySource | None) -> Rewritten:
    with records.transaction():
        count = records.encrypt(key)
    stated = records.encryption
    return Rewritten(count, stated.key_id if stated else "", records.pending)
