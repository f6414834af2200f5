"""How the names of people are stored in a gallery: in the clear, or encrypted.

An encrypted name is the base64 of nonce, ciphertext and tag of AES-256-GCM, bound to the person's uid, so
that a name moved to another row is detected. Checksums and encryption of templates cover this stored form, so
they reveal nothing about the name. The column ``lookup`` beside it is the HMAC-SHA256 of the name under
another key, by which a name is found and kept unique.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256

from facekd.errors import UsageError
from facekd.gallery.names import fold, shown

_NONCE_BYTES = 12
#: names are padded to a multiple of this number of bytes, so that their length reveals little
_FILLED = 64
#: follows the last byte of a name (ISO/IEC 7816-4)
_END = b"\x80"


class NameCipher:
    """Encrypts names with ``key``, and computes their lookups with ``lookup_key``, both of 32 bytes."""

    def __init__(self, key: bytes, lookup_key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aes, self._lookup_key = AESGCM(key), lookup_key

    def encrypted(self, uid: str, name: str) -> str:
        clear = name.encode() + _END
        clear += bytes(-len(clear) % _FILLED)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + self._aes.encrypt(nonce, clear, _bound_to(uid))).decode()

    def decrypted(self, uid: str, stored: str) -> str | None:
        """The name; `None` if it was changed, or belongs to another person."""
        from cryptography.exceptions import InvalidTag

        try:
            blob = base64.b64decode(stored, validate=True)
            clear = self._aes.decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], _bound_to(uid))
        except (ValueError, binascii.Error, InvalidTag):
            return None
        return clear.rstrip(b"\0").removesuffix(_END).decode()

    def lookup(self, name: str) -> str:
        return hmac.new(self._lookup_key, name.encode(), sha256).hexdigest()


@dataclass(frozen=True)
class StoredNames:
    """Writes and reads names, encrypted with ``cipher``, or in the clear if that is `None`."""

    cipher: NameCipher | None

    def written(self, uid: str, name: str) -> tuple[str, str | None]:
        """How the ``name`` of the person with ``uid`` is stored, and its ``lookup``. Raises `UsageError` for
        a name of version 0.1.0 that is not folded: it may differ from another person's only in how it was
        typed."""
        if self.cipher is None:
            return name, None
        if fold(name) != name:
            raise UsageError(
                f"the name '{shown(name)}' is not in normalised form, and cannot be encrypted",
                "Rename the person first: facekd gallery rename OLD NEW",
            )
        return self.cipher.encrypted(uid, name), self.cipher.lookup(name)

    def read(self, uid: str, stored: str) -> str | None:
        """The name; `None` if it is not what was written."""
        return stored if self.cipher is None else self.cipher.decrypted(uid, stored)


def _bound_to(uid: str) -> bytes:
    return f"facekd name\n{uid}\n".encode("utf-8", "surrogatepass")
