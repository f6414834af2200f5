"""What is to be enrolled: photos, videos and a camera, in a list or by person."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from facekd.errors import CannotSay, InputOutput, UsageError
from facekd.geometry import Pixels
from facekd.preprocess import (
    NAMING,
    FolderSource,
    Source,
    identities_in,
    identity_of,
    is_video,
    is_video_name,
    open_source,
)
from facekd.workflows.recognizer import Recognised


@dataclass(frozen=True)
class PhotoFile:
    """An image in a folder or pack, read when its turn comes."""

    source: Source
    name: str

    @property
    def shown(self) -> str:
        """The path for messages."""
        return as_text(self.source.path / self.name)

    def read(self) -> bytes:
        return self.source.read(self.name)


@dataclass(frozen=True)
class PhotoInHand:
    """A photo that was given as the bytes of an image file, or as pixels; ``shown`` names it in messages."""

    content: bytes | Pixels
    shown: str

    def read(self) -> bytes | Pixels:
        return self.content


@dataclass(frozen=True)
class RecognisedPhoto:
    """A face that was recognised already, as in a frame of a video; ``shown`` names it in messages."""

    found: Recognised
    shown: str


@dataclass(frozen=True)
class UnusablePhoto:
    """A photo that was found unusable already; ``error`` is the reason."""

    shown: str
    error: CannotSay | InputOutput


@dataclass(frozen=True)
class VideoFile:
    """A video file, read when its turn comes."""

    path: Path

    @property
    def shown(self) -> str:
        """The path for messages."""
        return as_text(self.path)


@dataclass(frozen=True)
class CameraView:
    """What a camera sees during ``seconds``, starting when its turn comes."""

    number: int
    seconds: float

    @property
    def shown(self) -> str:
        return f"camera {self.number}"


AnyPhoto = PhotoFile | PhotoInHand | RecognisedPhoto | UnusablePhoto
Film = VideoFile | CameraView
Given = AnyPhoto | Film


def as_text(path: Path | str) -> str:
    """``path`` for messages; bytes that are not UTF-8 are replaced."""
    return str(path).encode("utf-8", "replace").decode()


def photo_or_video(source: Source, name: str) -> PhotoFile | VideoFile:
    """The photo or video ``name`` in ``source``; only folders contain videos."""
    return VideoFile(source.path / name) if is_video_name(name) else PhotoFile(source, name)


def photos_at(paths: list[Path]) -> list[PhotoFile | VideoFile]:
    """The photos and videos of one person at ``paths``, including all in folders and below.

    A missing file fails only when it is read. Raises `InputOutput` if a folder contains no images and no
    videos, `UsageError` if it looks like a folder of several people: they all are in folders inside it.
    """
    found: list[PhotoFile | VideoFile] = []
    for path in paths:
        if path.is_dir():
            folder = FolderSource(path, videos=True)
            names = folder.names()
            if not names:
                raise InputOutput(f"{path}: no image or video in this folder")
            inside = {name.partition("/")[0] for name in names}
            if len(inside) > 1 and all("/" in name for name in names):
                raise UsageError(
                    f"{path}: all photos are in {len(inside)} folders inside it, as of several people",
                    f"Enroll a person for each: facekd enroll --from {shlex.quote(as_text(path))}; "
                    "if all are of one person, name the folders.",
                )
            found += [photo_or_video(folder, name) for name in names]
        elif is_video(path):
            found.append(VideoFile(path))
        elif path.parent.is_dir():
            found.append(PhotoFile(open_source(path.parent), path.name))
        else:
            raise InputOutput(f"{path}: no such file or folder")
    return found


def people_in(
    path: Path, root: str | None = None, tell: Callable[[str], object] = lambda note: None
) -> dict[str, list[PhotoFile]]:
    """The photos below ``path``, a folder or a zip pack, by person (for ``root`` see `identities_in`);
    ``tell`` receives notes about them.

    A person's folder that cannot be listed yields one photo that cannot be read, so that the other people are
    enrolled. Raises `UsageError` if an image is not in a person's folder, `InputOutput` if there are no
    images.
    """
    people: dict[str, list[PhotoFile]] = {}
    for person, source, name in _by_person(path, root, tell):
        people.setdefault(person, []).append(PhotoFile(source, name))
    return people


def people_to_enroll(
    path: Path, root: str | None = None, tell: Callable[[str], object] = lambda note: None
) -> dict[str, list[PhotoFile | VideoFile]]:
    """As `people_in`, with the videos in folders as well."""
    people: dict[str, list[PhotoFile | VideoFile]] = {}
    for person, source, name in _by_person(path, root, tell, videos=True):
        people.setdefault(person, []).append(photo_or_video(source, name))
    return people


def _by_person(
    path: Path, root: str | None, tell: Callable[[str], object], videos: bool = False
) -> Iterator[tuple[str, Source, str]]:
    """For each file its person, its source and its name there."""
    source = FolderSource(path, tolerant=True, videos=videos) if path.is_dir() else open_source(path)
    found = identities_in(source, root)
    if found.note:
        tell(found.note)
    some = False
    for name, person in found.of.items():
        if person is None:
            raise UsageError(f"{path}: {name} is not in a person's folder", NAMING)
        some = True
        yield person, source, name
    for folder, stand_in in _unlisted(source):
        person = identity_of(f"{folder}/photo", found.root)
        if person is not None:
            some = True
            yield person, stand_in, folder
    if not some:
        raise InputOutput(f"{path}: no images")


@dataclass(frozen=True)
class _UnlistedFolder:
    """Stands for the photos of a folder that cannot be listed: reading them fails."""

    path: Path
    error: InputOutput

    def names(self) -> list[str]:
        return []

    def read(self, name: str) -> bytes:
        raise self.error

    def stamp(self, name: str) -> str:
        raise self.error


def _unlisted(source: Source) -> Iterator[tuple[str, Source]]:
    """The folders of ``source`` that cannot be listed, each with a stand-in whose photos cannot be read."""
    if isinstance(source, FolderSource):
        for folder, error in source.unlisted.items():
            yield folder, _UnlistedFolder(source.path, error)
