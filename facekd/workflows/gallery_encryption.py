"""Encrypt an existing gallery, change its key, or decrypt it: each in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from facekd.errors import NoKey, UsageError
from facekd.gallery import (
    NO_KEY,
    GalleryRecords,
    KeySource,
    Place,
    key_id,
    key_in_use,
)


@dataclass(frozen=True)
class Rewritten:
    """How many ``templates`` were rewritten, and the id of the key that encrypts them now, empty if none
    does; ``names`` states whether names of people are encrypted too. ``pending`` means that another program
    was still reading the gallery: the previous bytes are erased when it has finished."""

    templates: int
    key_id: str
    pending: bool
    names: bool = False


def encrypt_gallery(gallery: Place, key: KeySource | None = None, names: bool = False) -> Rewritten:
    """Encrypt a gallery with ``key``, by default that of `key_in_use`; no template remains in the clear in
    its file or in the tables of its database. With ``names``, neither does any name of a person; in a gallery
    that is already encrypted without names, they are encrypted with its key.

    Raises `UsageError` if there is nothing left to encrypt, `NoKey` if there is no key, and as
    `GalleryRecords.encrypt` does.
    """
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
        return _encrypt_names(gallery, key, names)
    with records:
        return _rewrite(records, key, names)


def _encrypt_names(gallery: Place, key: KeySource, names: bool) -> Rewritten:
    """`encrypt_gallery` for a gallery that is already encrypted."""
    if names:
        with _encrypted(gallery, key) as records:
            if records.encryption is not None and not records.encryption.names:
                return _rewrite(records, key, names)
    raise UsageError(
        f"{gallery} is already encrypted" + (", names too" if names else ""),
        "Give it another key: facekd gallery rotate-key",
    )


def rotate_key(gallery: Place, new: KeySource, key: KeySource | None = None) -> Rewritten:
    """Encrypt a gallery with the key ``new`` instead of ``key``, by default that of `key_in_use`; encrypted
    names as well.

    Raises `UsageError` if it is not encrypted or ``new`` is its key already, and as `GalleryRecords.encrypt`
    does.
    """
    with _encrypted(gallery, key) as records:
        if records.encryption is not None and records.encryption.key_id == key_id(new.key()):
            raise UsageError(f"{new.told}: this is already the gallery's key", "Create a new one.")
        return _rewrite(records, new)


def decrypt_gallery(gallery: Place, key: KeySource | None = None) -> Rewritten:
    """Store the templates and names of a gallery in the clear; ``key`` is its key, by default that of
    `key_in_use`.

    Raises `UsageError` if it is not encrypted, and as `GalleryRecords.encrypt` does.
    """
    with _encrypted(gallery, key) as records:
        return _rewrite(records, None)


def _encrypted(gallery: Place, key: KeySource | None) -> GalleryRecords:
    records = GalleryRecords(gallery, key=key)
    if records.encryption is None:
        records.close()
        raise UsageError(f"{gallery} is not encrypted", "Encrypt it: facekd gallery encrypt")
    return records


def _rewrite(records: GalleryRecords, key: KeySource | None, names: bool | None = None) -> Rewritten:
    with records.transaction():
        count = records.encrypt(key, names)
    stated = records.encryption
    if stated is None:
        return Rewritten(count, "", records.pending)
    return Rewritten(count, stated.key_id, records.pending, stated.names)
