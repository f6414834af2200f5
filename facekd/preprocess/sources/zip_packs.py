"""Images in a zip pack."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from facekd.errors import FacekdError, InputOutput, Unreadable
from facekd.files import open_regular
from facekd.preprocess.sources.base import check_bytes, is_image

#: bytes that are read at once, which limits the directory of a pack: about ten million names
_MAX_READ = 1_000_000_000
#: compressions accepted; with others a few bytes may unpack to any size, and photos are not packed with them
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: bytes of an image that are unpacked at a time, so that the size stated in the pack is a limit
_CHUNK = 1 << 16


class _Bounded(io.BufferedReader):
    """A pack's file, which refuses the length of a directory that it cannot have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_READ:
            raise zipfile.BadZipFile(f"a directory of {size:,} bytes")
        return super().read(size)


def open_zip(path: Path) -> zipfile.ZipFile:
    """The zip pack at ``path``; raises `Unreadable` if it is not one, `InputOutput` if reading fails."""
    file = _Bounded(open_regular(path).detach())  # type: ignore[attr-defined]
    try:
        return zipfile.ZipFile(file)
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        # a damaged directory may raise BadZipFile, NotImplementedError or struct.error
        raise Unreadable(f"{path}: not a zip file ({error})") from error


class ZipSource:
    """The images in a zip pack, read in place. Each process opens its own handle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner: int | None = None
        self._archive: zipfile.ZipFile | None = None

    def _open(self) -> zipfile.ZipFile:
        # a handle inherited by fork would share its file position with the parent
        if self._archive is None or self._owner != os.getpid():
            self._archive = open_zip(self.path)
            self._owner = os.getpid()
        return self._archive

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_owner": None, "_archive": None}

    def names(self) -> list[str]:
        """As for a folder: files in hidden folders are skipped."""
        return sorted(name for name in self._open().namelist() if is_image(name) and not _is_hidden(name))

    def read(self, name: str) -> bytes:
        archive = self._open()
        try:
            info = archive.getinfo(name)
            check_bytes(info.file_size, f"{self.path}/{name}")
            if info.compress_type not in _METHODS:
                raise Unreadable(
                    f"{self.path}/{name}: neither stored nor deflated", "Pack it with another tool."
                )
            with archive.open(name) as member:
                return b"".join(iter(lambda: member.read(_CHUNK), b""))
        except FacekdError:
            raise
        except Exception as error:
            # KeyError, BadZipFile, EOFError, zlib.error or NotImplementedError: the pack is damaged
            raise Unreadable(f"{self.path}/{name}: {error}") from error

    def stamp(self, name: str) -> str:
        """The length and the CRC-32 that the pack states for the image."""
        try:
            held = self._open().getinfo(name)
        except KeyError as error:
            raise Unreadable(f"{self.path}/{name}: {error}") from error
        return f"{held.file_size}-{held.CRC:08x}"


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
