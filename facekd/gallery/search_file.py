"""The templates for searches, kept in a file beside the gallery, so that they need not be read each time.

The file holds templates, so it is as private as the gallery, and people who are removed must be gone from it
before the removal is acknowledged. Two rules ensure that, whenever a process is killed:

- The file, and its unfinished version, have fixed names and are written only by a process that holds the
  gallery's write lock and has checked its state.
- Every change of the gallery deletes both, under the same lock, before it is committed.

So after a removal, no older version can appear. A file of another state, of another gallery, or a damaged
one is ignored.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput
from facekd.files import open_regular, real_path, sync_folder
from facekd.gallery import database

Floats = NDArray[np.float32]

_MAGIC = b"facekd search 1\n"
#: bytes of the description after the magic, padded with spaces
_DESCRIPTION = 1024
_ENDINGS = ("-search", "-search.new")


@dataclass(frozen=True)
class SearchKey:
    """The gallery, and the ``state`` of its records, to which the kept templates belong."""

    space: str
    dim: int
    state: str
    people: int


def files_of(gallery: Path) -> list[Path]:
    """The paths of the file and of its unfinished version: beside the target of a link."""
    file = real_path(gallery)
    return [file.with_name(file.name + ending) for ending in _ENDINGS]


def forget(gallery: Path) -> None:
    """Delete what is kept of ``gallery``, durably. Raises `InputOutput` if that fails."""
    gone = False
    for file in files_of(gallery):
        try:
            file.unlink()
            gone = True
        except FileNotFoundError:
            continue
        except OSError as error:
            # beside a gallery whose name has the maximum length there cannot be one
            if error.errno == errno.ENAMETOOLONG:
                continue
            raise InputOutput(
                f"{file}: cannot be deleted ({error.strerror or error})",
                "It holds templates, so the gallery cannot be changed while it exists.",
            ) from error
    if gone:
        sync_folder(real_path(gallery).parent)


def load(gallery: Path, key: SearchKey) -> Floats | None:
    """The kept templates [people, D] of ``key``; `None` if there are none, or they are damaged."""
    with suppress(InputOutput, OSError), open_regular(files_of(gallery)[0]) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
        description = file.read(_DESCRIPTION)
        body = 4 * key.people * key.dim
        if os.fstat(file.fileno()).st_size != file.tell() + body:
            return None
        content = file.read(body)
        if len(content) == body and description == _described(key, content):
            return np.frombuffer(content, "<f4").reshape(key.people, key.dim).astype(np.float32, copy=False)
    return None


def keep(gallery: Path, key: SearchKey, rows: Floats) -> bool:
    """Keep ``rows`` [people, D], which were read from the gallery in the state of ``key``; return whether
    they were kept.

    They are not if the gallery has changed since, another program is changing it, or there is no write
    access or no room: they are then read again the next time.
    """
    with (
        suppress(InputOutput, OSError, sqlite3.Error),
        closing(database.connect(gallery)) as db,
    ):
        db.execute("PRAGMA busy_timeout = 0")
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT word FROM state").fetchall() == [(key.state,)]:
            _write(gallery, key, np.ascontiguousarray(rows, "<f4").data)
            return True
    return False


def _write(gallery: Path, key: SearchKey, content: memoryview) -> None:
    final, unfinished = files_of(gallery)
    unfinished.unlink(missing_ok=True)
    try:
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + _described(key, content))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(final)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(final.parent)


def _described(key: SearchKey, content: bytes | memoryview) -> bytes:
    """The description before ``content``: the key, and a digest that reveals damage to either."""
    text = json.dumps(asdict(key) | {"sha256": hashlib.sha256(content).hexdigest()}, sort_keys=True)
    return text.encode().ljust(_DESCRIPTION)
