"""Images in a zip pack."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from facekd.errors import InputOutput, Unreadable
from facekd.preprocess.sources.base import check_bytes, is_image


class ZipSource:
    """The images in a zip pack, read in place. Opens its own handle in each process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner: int | None = None
        self._archive: zipfile.ZipFile | None = None

    def _open(self) -> zipfile.ZipFile:
        # a handle inherited by fork would share its file position with the parent
        if self._archive is None or self._owner != os.getpid():
            try:
                self._archive = zipfile.ZipFile(self.path)
            except zipfile.BadZipFile as error:
                raise Unreadable(f"{self.path}: not a zip file ({error})") from error
            except OSError as error:
                raise InputOutput(f"{self.path}: {error.strerror}") from error
            self._owner = os.getpid()
        return self._archive

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_owner": None, "_archive": None}

    def names(self) -> list[str]:
        return sorted(n for n in self._open().namelist() if is_image(n))

    def read(self, name: str) -> bytes:
        try:
            archive = self._open()
            check_bytes(archive.getinfo(name).file_size, f"{self.path}/{name}")
            return archive.read(name)
        except (KeyError, zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:
            raise Unreadable(f"{self.path}/{name}: {error}") from error

    def stamp(self, name: str) -> str:
        """The length and the CRC-32 that the pack states of the image."""
        try:
            held = self._open().getinfo(name)
        except KeyError as error:
            raise Unreadable(f"{self.path}/{name}: {error}") from error
        return f"{held.file_size}-{held.CRC:08x}"
