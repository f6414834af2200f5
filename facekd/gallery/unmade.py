"""A gallery that is made when the first person is enrolled; until then nothing is on the disk."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NoReturn

from facekd.errors import InputOutput
from facekd.gallery import database
from facekd.gallery.creation import Fill
from facekd.gallery.gallery_file import GalleryFile


class UnmadeGallery(GalleryFile):
    """An empty gallery in memory that is read in place of the one to be made at ``path``. It cannot be
    changed."""

    def __init__(self, path: Path, fill: Fill) -> None:
        self.path = path
        self.pending = False
        self._changing = False
        self._reader = None
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        with database.write_transaction(self.db):
            fill(self.db)

    def close(self) -> None:
        self.db.close()

    def version(self) -> int:
        """A number that no file has."""
        return -1

    def transaction(self) -> NoReturn:
        raise RuntimeError("a gallery is made before it is changed")


def can_be_made(path: Path) -> bool:
    """Whether nothing is at ``path`` yet. Raises `InputOutput` if no file can be made there, so that this is
    known before photos are processed."""
    if os.path.lexists(path):
        return False
    if not path.parent.is_dir():
        raise InputOutput(f"{path}: cannot be created: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputOutput(f"{path}: cannot be created (Permission denied)")
    return True
