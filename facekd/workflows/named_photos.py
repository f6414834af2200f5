"""Photos and videos with the names that answers use for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from facekd.errors import InputOutput, UsageError
from facekd.preprocess import FolderSource, is_video, open_source
from facekd.workflows.listing import is_listing, photos_listed, read_listing
from facekd.workflows.photos_given import PhotoFile, VideoFile, as_text, photo_or_video

#: suffixes of files that contain many images
_PACKS = (".zip", ".rec", ".bin")


@dataclass(frozen=True)
class NamedPhoto:
    """A photo, and its name in the answer."""

    name: str
    photo: PhotoFile

    @property
    def shown(self) -> str:
        """Where it lies, for messages."""
        return self.photo.shown


@dataclass(frozen=True)
class NamedVideo:
    """A video file, and its name in the answer."""

    name: str
    video: VideoFile

    @property
    def shown(self) -> str:
        """Where it lies, for messages."""
        return self.video.shown


_Named = TypeVar("_Named", bound=NamedPhoto | NamedVideo)


def photos_to_embed(paths: Sequence[Path]) -> list[NamedPhoto]:
    """The photos at ``paths``: files by their path as given, and all images of folders and packs by their
    path inside.

    A missing file fails only when it is read. Raises `InputOutput` if a folder has no images, `UsageError` if
    two photos would have the same name.
    """
    return _each_once([named for path in paths for named in _photos_at(path)])


def photos_to_search(paths: Sequence[Path]) -> list[NamedPhoto | NamedVideo]:
    """As `photos_to_embed`, and videos as well; if a path is a CSV file or `STDIN`, the photos listed there,
    by their text in the list. Also raises as `photos_listed` does."""
    return _each_once([named for path in paths for named in _searched_at(path)])


def _searched_at(path: Path) -> Iterator[NamedPhoto | NamedVideo]:
    if is_listing(path):
        listed = photos_listed(read_listing(path))
        yield from (_named(name, found) for name, found in listed.items())
    elif path.is_dir():
        folder = FolderSource(path, videos=True)
        names = folder.names()
        if not names:
            raise InputOutput(f"{path}: contains no image or video")
        yield from (_named(name, photo_or_video(folder, name)) for name in names)
    elif is_video(path):
        yield _named(str(path), VideoFile(path))
    else:
        yield from _photos_at(path)


def _photos_at(path: Path) -> Iterator[NamedPhoto]:
    if path.is_dir() or path.suffix.lower() in _PACKS:
        source = open_source(path)
        names = source.names()
        if not names:
            raise InputOutput(f"{path}: contains no image")
        yield from (NamedPhoto(as_text(name), PhotoFile(source, name)) for name in names)
    else:
        yield NamedPhoto(as_text(path), PhotoFile(open_source(Path()), str(path)))


def _named(name: str, found: PhotoFile | VideoFile) -> NamedPhoto | NamedVideo:
    text = as_text(name)
    return NamedVideo(text, found) if isinstance(found, VideoFile) else NamedPhoto(text, found)


def _each_once(found: list[_Named]) -> list[_Named]:
    """``found``, if no two have the same name."""
    places: dict[str, _Named] = {}
    for named in found:
        first = places.setdefault(named.name, named)
        if first is not named:
            raise UsageError(
                f"two photos have the name {named.name}: {first.shown} and {named.shown}",
                "Give the folder that contains both, or each photo once.",
            )
    return found
