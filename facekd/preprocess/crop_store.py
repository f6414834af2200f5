"""Where crops are written: a folder, or a zip pack. Whenever a run is killed, each crop is complete or
absent, and a pack is the old one or the new one."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from facekd.errors import Unreadable
from facekd.files import cannot_write, is_utf8
from facekd.preprocess.sources.zip_packs import open_zip

#: all members of a pack have the earliest date of the format, so that equal crops give equal packs
_DATE = (1980, 1, 1, 0, 0, 0)


class Target(Protocol):
    """Stores crops by name, a relative path with forward slashes."""

    def holds(self, name: str) -> bool: ...

    def write(self, name: str, content: bytes) -> None: ...

    def remove(self, name: str) -> None: ...

    def finish(self) -> None:
        """Called once, after the last crop."""
        ...


class FolderTarget:
    """Crops as files below ``root``, written by one process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def holds(self, name: str) -> bool:
        file = self.root / name
        return file.is_file() and file.stat().st_size > 0

    def write(self, name: str, content: bytes) -> None:
        # always the same temporary name: the next run overwrites what a killed one leaves
        beside = self.root / ".facekd-writing"
        beside.write_bytes(content)
        try:
            beside.replace(self.root / name)
        except FileNotFoundError:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            beside.replace(self.root / name)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def finish(self) -> None:
        (self.root / ".facekd-writing").unlink(missing_ok=True)


class ZipTarget:
    """Crops as uncompressed members of the pack at ``path``.

    They are collected in a hidden folder beside it; `finish` joins them with the existing members
    in a new file, which then replaces the pack. ``fresh`` drops the existing members.
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path = path
        parts = path.with_name(f".{path.name}.parts")
        if fresh and parts.exists():
            shutil.rmtree(parts)
        self._parts = FolderTarget(parts)
        self._old = set() if fresh else _members(path)

    def holds(self, name: str) -> bool:
        return name in self._old or self._parts.holds(name)

    def write(self, name: str, content: bytes) -> None:
        self._parts.write(name, content)

    def remove(self, name: str) -> None:
        self._parts.remove(name)
        self._old.discard(name)

    def finish(self) -> None:
        self._parts.finish()
        new = {p.relative_to(self._parts.root).as_posix() for p in _files(self._parts.root)}
        if new or not self.path.is_file():
            beside = self.path.with_name(f".{self.path.name}.new")
            with zipfile.ZipFile(beside, "w") as pack:
                for name, content in self._all(new):
                    pack.writestr(zipfile.ZipInfo(name, _DATE), content)
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(self.path)
        shutil.rmtree(self._parts.root)

    def _all(self, new: set[str]) -> Iterator[tuple[str, bytes]]:
        kept = self._old - new
        old = zipfile.ZipFile(self.path) if kept else None
        for name in sorted(kept | new):
            if name in new:
                yield name, (self._parts.root / name).read_bytes()
            elif old is not None:
                yield name, old.read(name)


def open_target(path: Path, fresh: bool = False) -> Target:
    """A zip pack if ``path`` ends in .zip, else a folder; it is created if it does not exist."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return ZipTarget(path, fresh) if is_pack(path) else FolderTarget(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def is_pack(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def is_safe(name: str) -> bool:
    """Whether a relative path stays below the folder it is joined to, on any system, and can be
    encoded as text."""
    if set(name) & set("\\:\0") or not is_utf8(name):
        return False
    parts = PurePosixPath(name).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts


def _members(path: Path) -> set[str]:
    if not path.exists():
        return set()
    try:
        with open_zip(path) as pack:
            return set(pack.namelist())
    except Unreadable as error:
        raise Unreadable(error.cause, "Remove it, or give --force.") from error


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]
