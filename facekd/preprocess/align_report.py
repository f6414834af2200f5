"""The report of aligning a folder: one JSON line per photo, from which an interrupted run resumes.

The first line states the settings. Each further line is a photo: its faces, with the crop
written for each, or the reason why there is none. A line is appended after the photo's crops
have been written, so a photo without a line is done again. The last line of a photo counts; a
last line that was cut short by a kill is ignored.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from facekd.card import CropSpec
from facekd.errors import InputOutput, Unreadable, UsageError

#: msvcrt counts bytes in 32 bits with a sign
_LOCKED_BYTE = 2**31 - 2


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(_Frozen):
    """The first line: the settings that the crops were made with."""

    facekd: str
    detector: str
    aligner: str
    crop: CropSpec
    on_many: Literal["best", "largest", "central", "dominant", "all", "skip"]
    format: Literal["webp", "png", "jpg"]


class ReportedFace(_Frozen):
    """A face with a crop: ``box`` [4] and ``landmarks`` [5, 2] in pixels of the photo."""

    crop: str
    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    score: float
    quality: float


class Entry(_Frozen):
    """A photo: the ``faces`` with a crop, out of ``found`` ones, or ``reason`` and ``detail``."""

    photo: str
    sha256: str | None = None
    found: int = 0
    faces: tuple[ReportedFace, ...] = ()
    reason: str | None = None
    detail: str | None = None


class Report:
    """The report at ``path``, opened for appending by this process only.

    Raises `UsageError` if another process is writing it, `Unreadable` if it is not a report.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("ab+")
        except OSError as error:
            raise InputOutput(f"{path}: cannot be written ({error.strerror})") from error
        _lock(self._file.fileno(), path)
        self.settings: Settings | None = None
        self.entries: dict[str, Entry] = {}
        self._read()

    def restart(self, settings: Settings) -> None:
        """Start over with ``settings``."""
        self._file.truncate(0)
        self.settings, self.entries = settings, {}
        self._append(settings)

    def add(self, entry: Entry) -> None:
        self.entries[entry.photo] = entry
        self._append(entry)

    def close(self) -> None:
        self._file.close()

    def _append(self, line: BaseModel) -> None:
        text = json.dumps(line.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
        self._file.write(text.encode() + b"\n")
        self._file.flush()

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        self._file.truncate(whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                if number == 1:
                    self.settings = Settings.model_validate_json(line)
                else:
                    entry = Entry.model_validate_json(line)
                    self.entries[entry.photo] = entry
            except ValidationError as error:
                raise Unreadable(
                    f"{self.path}, line {number}: not a line of a report",
                    "It was not written by this version of 'facekd align'. Move it and the crops elsewhere.",
                ) from error


def report_path(target: Path) -> Path:
    """The path of the report beside ``target``: crops.report.jsonl, or pack.zip.report.jsonl."""
    return target.with_name(f"{target.name}.report.jsonl")


def _lock(handle: int, path: Path) -> None:
    try:
        _take(handle)
    except OSError as error:
        raise UsageError(f"{path}: another run is writing to it", "Wait until it has finished.") from error


def _take(handle: int) -> None:
    """Lock the open file until it is closed; raises `OSError` if another process has locked it."""
    try:
        import fcntl
    except ImportError:
        _take_on_windows(handle)
        return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _take_on_windows(handle: int) -> None:
    import msvcrt

    # Windows keeps others from reading what is locked: so lock a byte that no report is long enough to have
    os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
