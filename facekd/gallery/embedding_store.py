"""Embeddings by photo, in a private temporary file."""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from facekd.errors import Misfit
from facekd.files import cannot_write
from facekd.gallery import database
from facekd.gallery.encryption import Cipher
from facekd.gallery.entries import Contract
from facekd.gallery.keys import KEY_BYTES
from facekd.gallery.template import is_unit, pack


class EmbeddingStore:
    """Embeddings of the space of ``contract``, by the SHA-256 of their photo, stored as in a gallery.

    They are in a file of mode 0600 in the folder of ``beside``, so that memory does not grow with a gallery;
    leaving the ``with`` block deletes it. With ``encrypted``, they are encrypted there with a key that exists
    in memory only. Raises `InputOutput` if it cannot be written.
    """

    def __init__(self, beside: Path, contract: Contract, encrypted: bool = False) -> None:
        self.contract = contract
        self._cipher = Cipher(secrets.token_bytes(KEY_BYTES), b"") if encrypted else None
        folder = Path(os.path.realpath(beside)).parent
        try:
            handle, name = tempfile.mkstemp(prefix=".facekd-", suffix=".db", dir=folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
        os.close(handle)
        self.path = Path(name)
        self._beside = beside
        with database.explained(beside):
            self._db = sqlite3.connect(self.path, isolation_level=None)
            # after a failure the file is useless anyway
            self._db.execute("PRAGMA journal_mode = OFF")
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.execute(
                "CREATE TABLE embeddings (photo TEXT PRIMARY KEY, embedding BLOB NOT NULL,"
                " quality REAL NOT NULL) STRICT"
            )

    def __enter__(self) -> EmbeddingStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self.path.unlink(missing_ok=True)

    def __contains__(self, photo: str) -> bool:
        with database.explained(self._beside):
            query = "SELECT count(*) FROM embeddings WHERE photo = ?"
            return bool(self._db.execute(query, (photo,)).fetchone()[0])

    def add(self, photo: str, embedding: NDArray[np.float32], quality: float) -> None:
        """Store the ``embedding`` [D], of unit length, of the photo with this SHA-256."""
        if embedding.shape != (self.contract.dim,):
            raise Misfit(f"embeddings have {self.contract.dim} values, this one is {list(embedding.shape)}")
        if not is_unit(embedding):
            raise ValueError("an embedding must have unit length")
        blob = pack(embedding)
        if self._cipher is not None:
            blob = self._cipher.encrypted(blob, photo.encode())
        with database.explained(self._beside):
            self._db.execute(
                "INSERT INTO embeddings (photo, embedding, quality) VALUES (?, ?, ?)",
                (photo, blob, float(quality)),
            )

    def get(self, photo: str) -> tuple[bytes, float] | None:
        """The bytes of the embedding of this photo, not encrypted, and its quality; `None` if there is
        none."""
        with database.explained(self._beside):
            query = "SELECT embedding, quality FROM embeddings WHERE photo = ?"
            found = self._db.execute(query, (photo,)).fetchone()
        if found is None or self._cipher is None:
            return found
        clear = self._cipher.decrypted(found[0], photo.encode())
        if clear is None:
            raise database.damaged(self._beside, "an embedding that was just computed was changed")
        return clear, found[1]
