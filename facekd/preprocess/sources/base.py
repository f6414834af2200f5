"""The interface of a source of images, and reading of files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Protocol

from facekd.errors import InputOutput
from facekd.files import read_bounded, too_large

#: bytes of the largest image file that is read
MAX_BYTES = 200_000_000


#: suffixes of images in a folder or pack
SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif",
    ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm",
})  # fmt: skip

#: suffixes of videos in a folder
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})


class Source(Protocol):
    """Images by name; a name is a relative path with forward slashes."""

    @property
    def path(self) -> Path: ...

    def names(self) -> list[str]:
        """All image names, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """The encoded bytes of one image. Raises `InputOutput` if it cannot be read."""
        ...

    def stamp(self, name: str) -> str:
        """A text that changes with the bytes of one image, found without reading them. Raises `InputOutput`
        if the image does not exist."""
        ...


def is_image(name: str) -> bool:
    """Whether a name looks like an image's (and is not a hidden file)."""
    return _ends_with(name, SUFFIXES)


def is_video_name(name: str) -> bool:
    """Whether a name looks like a video's (and is not a hidden file)."""
    return _ends_with(name, VIDEO_SUFFIXES)


def _ends_with(name: str, suffixes: frozenset[str]) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def read_file(path: Path) -> bytes:
    """The bytes of an image file; raises `InputOutput`, or `TooLarge` above `MAX_BYTES`."""
    return read_bounded(path, MAX_BYTES)


def stamp_of(path: Path) -> str:
    """Length and modification time of a file. Raises `InputOutput` if it does not exist."""
    try:
        held = path.stat()
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror}") from error
    return f"{held.st_size}-{held.st_mtime_ns}"


def check_bytes(count: int, name: str) -> None:
    """Raise `TooLarge` for an image of more than `MAX_BYTES`."""
    if count > MAX_BYTES:
        raise too_large(name, MAX_BYTES, count)
