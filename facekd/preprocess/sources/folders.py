"""Images in a folder, or single image files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from facekd.errors import InputOutput, UsageError
from facekd.preprocess.sources.base import is_image, is_video_name, read_file, stamp_of


class FolderSource:
    """The images below a folder. Only regular files (and links to them) count, whatever their name.

    A subfolder that cannot be listed raises `InputOutput`; if ``tolerant``, it is skipped, and `unlisted`
    then states which and why. The folder itself must be listable. With ``videos``, names include those of
    video files, which `read` does not read.
    """

    def __init__(self, path: Path, tolerant: bool = False, videos: bool = False) -> None:
        self.path = path
        self.tolerant = tolerant
        self._videos = videos
        #: the folders that `names` skipped, by their relative path
        self.unlisted: dict[str, InputOutput] = {}

    def names(self) -> list[str]:
        found = []
        seen = set()
        self.unlisted = {}
        for folder, below, files in os.walk(self.path, followlinks=True, onerror=self._cannot_list):
            place = Path(folder)
            below[:] = [name for name in below if not name.startswith(".")]
            if place.resolve() in seen:
                # a link to a parent folder would be followed for ever
                below.clear()
                continue
            seen.add(place.resolve())
            base = place.relative_to(self.path)
            found += [
                (base / f).as_posix() for f in files if self._is_wanted(f) and not _is_special(place / f)
            ]
        return sorted(found)

    def read(self, name: str) -> bytes:
        return read_file(self.path / name)

    def stamp(self, name: str) -> str:
        return stamp_of(self.path / name)

    def _is_wanted(self, file: str) -> bool:
        return is_image(file) or (self._videos and is_video_name(file))

    def _cannot_list(self, error: OSError) -> None:
        refused = InputOutput(f"{error.filename}: {error.strerror}")
        folder = Path(error.filename).relative_to(self.path).as_posix()
        if not self.tolerant or folder == ".":
            raise refused from error
        self.unlisted[folder] = refused


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


def _is_special(file: Path) -> bool:
    """Whether it is a pipe, a socket or a device. A missing file or target is not: reading reports that."""
    try:
        return not stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False
