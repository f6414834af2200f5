"""Where images come from: a folder, a zip pack, or single files; one way to list and read all."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Protocol

from facekd.errors import InputOutput, Unreadable, UsageError

#: what is taken for an image in a folder or pack
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})


class Source(Protocol):
    """Images by name; a name is a relative path with forward slashes."""

    @property
    def path(self) -> Path: ...

    def names(self) -> list[str]:
        """All image names, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """The encoded bytes of one image. Raises `InputOutput` where it cannot be read."""
        ...


class FolderSource:
    """The images below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        found = []
        for folder, _, files in os.walk(self.path, followlinks=True):
            base = Path(folder).relative_to(self.path)
            found += [(base / f).as_posix() for f in files if is_image(f)]
        return sorted(found)

    def read(self, name: str) -> bytes:
        return _read_file(self.path / name)


class FilesSource:
    """Single image files, named by their file name; ``path`` is the first one's folder."""

    def __init__(self, files: list[Path]) -> None:
        self.path = files[0].parent
        self._files = {file.name: file for file in files}
        if len(self._files) < len(files):
            raise UsageError("two of the photos have the same file name", "Give their folder instead.")

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        return _read_file(self._files[name])


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
            return self._open().read(name)
        except (KeyError, zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:
            raise Unreadable(f"{self.path}/{name}: {error}") from error


def open_source(path: str | os.PathLike[str]) -> Source:
    """A folder, a zip pack, or one image file as a `Source`."""
    path = Path(path)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InputOutput(f"{path}: no such file or folder")
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return ZipSource(path)
    if is_image(path.name):
        return FilesSource([path])
    raise UsageError(f"{path}: neither a folder, a zip pack nor an image")


def is_image(name: str) -> bool:
    """Whether a name looks like an image's (and is not a hidden file)."""
    base = name.rsplit("/", 1)[-1]
    return os.path.splitext(base)[1].lower() in SUFFIXES and not base.startswith(".")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror}") from error
