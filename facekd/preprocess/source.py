"""Where images come from: a folder, a zip pack, or single files; one way to list and read all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from facekd.errors import InputOutput, TooLarge, Unreadable, UsageError

#: bytes of the largest image file that is read
MAX_BYTES = 200_000_000
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

    def stamp(self, name: str) -> str:
        """What changes when the bytes of one image do, found without reading them. Raises `InputOutput`
        where it is not there."""
        ...


class FolderSource:
    """The images below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        found = []
        seen = set()
        for folder, below, files in os.walk(self.path, followlinks=True, onerror=_cannot_list):
            place = Path(folder)
            below[:] = [name for name in below if not name.startswith(".")]
            if place.resolve() in seen:
                # a link back to a folder above would be followed for ever
                below.clear()
                continue
            seen.add(place.resolve())
            base = place.relative_to(self.path)
            found += [(base / f).as_posix() for f in files if is_image(f)]
        return sorted(found)

    def read(self, name: str) -> bytes:
        return read_file(self.path / name)

    def stamp(self, name: str) -> str:
        return stamp_of(self.path / name)


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
        return read_file(self._files[name])

    def stamp(self, name: str) -> str:
        return stamp_of(self._files[name])


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


def open_sources(paths: Sequence[str | os.PathLike[str]]) -> Source:
    """One folder or zip pack, or any number of image files, as one `Source`."""
    if len(paths) == 1:
        return open_source(paths[0])
    files = [Path(path) for path in paths]
    for file in files:
        if not file.is_file():
            kind = "is a folder" if file.is_dir() else "does not exist"
            raise UsageError(f"{file} {kind}", "Give one folder, one zip pack, or image files.")
    return FilesSource(files)


def open_source(path: str | os.PathLike[str]) -> Source:
    """A folder, a zip, RecordIO or ``.bin`` pack, or one image file as a `Source`."""
    path = Path(path)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InputOutput(f"{path}: no such file or folder")
    if path.suffix.lower() == ".rec":
        from facekd.preprocess.recordio import RecordSource

        return RecordSource(path)
    if path.suffix.lower() == ".bin":
        from facekd.preprocess.binpack import BinSource

        return BinSource(path)
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return ZipSource(path)
    if is_image(path.name):
        return FilesSource([path])
    raise UsageError(f"{path}: neither a folder, a zip, RecordIO or bin pack nor an image")


def identity_of(name: str) -> str | None:
    """The folder that an image lies in, which in labelled data is its identity."""
    return name.rsplit("/", 1)[0] if "/" in name else None


def is_image(name: str) -> bool:
    """Whether a name looks like an image's (and is not a hidden file)."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _cannot_list(error: OSError) -> None:
    raise InputOutput(f"{error.filename}: {error.strerror}") from error


def read_file(path: Path) -> bytes:
    """The bytes of an image file; raises `InputOutput`, or `TooLarge` above `MAX_BYTES`."""
    try:
        check_bytes(path.stat().st_size, str(path))
        return path.read_bytes()
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror}") from error


def stamp_of(path: Path) -> str:
    """Length and time of the last change of a file. Raises `InputOutput` where it is not there."""
    try:
        held = path.stat()
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror}") from error
    return f"{held.st_size}-{held.st_mtime_ns}"


def check_bytes(count: int, name: str) -> None:
    """Raise `TooLarge` for an image of more than `MAX_BYTES`."""
    if count > MAX_BYTES:
        raise TooLarge(f"{name}: {count:,} bytes, the limit is {MAX_BYTES:,}")
