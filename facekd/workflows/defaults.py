"""Defaults that a call does not state: the settings of a file ``facekd.toml``."""

from __future__ import annotations

import difflib
import json
import os
import stat
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facekd.errors import Unreadable, UsageError
from facekd.files import read_text, settings_file, settings_places
from facekd.gallery import Place, gallery_place

#: bytes of the largest file that is read
_MOST_BYTES = 100_000
_TRUST = "If you trust it, name it with FACEKD_CONFIG."
#: what pydantic's faults mean to the person who wrote the file
_WANTED = {
    "string_type": "should be a string",
    "string_too_short": "should not be empty",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "greater_than_equal": "should be from -1 to 1",
    "less_than_equal": "should be from -1 to 1",
    "greater_than": "should be between 0 and 1",
    "less_than": "should be between 0 and 1",
    "bool_type": "should be true or false",
}

_Text = Annotated[str, Field(min_length=1)]
_Score = Annotated[float, Field(ge=-1, le=1)]
_Rate = Annotated[float, Field(gt=0, lt=1)]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    model: _Text | None = None
    gallery: _Text | None = None
    detector: _Text | None = None
    threshold: _Score | None = None
    fmr: _Rate | None = None
    fpir: _Rate | None = None
    key_file: _Text | None = None
    key_command: _Text | None = None
    audit_reads: bool | None = None


@dataclass(frozen=True)
class Defaults:
    """The settings in ``path``, a file ``facekd.toml``; `None` for those that it does not set. Relative paths
    in it start from its folder."""

    path: Path
    model: Path | None = None
    gallery: Place | None = None
    detector: str | None = None
    threshold: float | None = None
    fmr: float | None = None
    fpir: float | None = None
    key_file: Path | None = None
    key_command: str | None = None
    audit_reads: bool | None = None

    def stated(self) -> dict[str, Place | str | float | bool]:
        """The settings that the file sets."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "path"}
        return {name: value for name, value in values.items() if value is not None}


def read_defaults() -> Defaults | None:
    """The settings of the file in use (`settings_file`); `None` if there is no such file.

    Raises `UsageError` for invalid settings, which it lists together, if ``FACEKD_CONFIG`` names a file that
    does not exist, and for a file in the current folder that another user may have written; `InputOutput` if
    it cannot be read.
    """
    path = settings_file()
    if path is None:
        return None
    if path == settings_places()[0]:
        _check_own(path)
    raw = _parsed(path)
    try:
        written = _Written.model_validate(raw)
    except ValidationError as error:
        raise _wrong(path, [_told(fault) for fault in error.errors()]) from None
    _check_key(path, written)
    rates = [name for name in ("fmr", "fpir") if getattr(written, name) is not None]
    if written.threshold is not None and rates:
        raise _wrong(path, [f"threshold: the file also sets {' and '.join(rates)}; keep one of them"])
    folder = path.absolute().parent
    return Defaults(
        path,
        None if written.model is None else _inside(folder, written.model),
        None if written.gallery is None else _gallery(path, folder, written.gallery),
        None if written.detector is None else _detector(folder, written.detector),
        written.threshold,
        written.fmr,
        written.fpir,
        None if written.key_file is None else _inside(folder, written.key_file),
        written.key_command,
        written.audit_reads,
    )


def _check_own(path: Path) -> None:
    """Raise `UsageError` for a file that was found in the current folder and that another user may have
    written: it chooses the model and the threshold."""
    if not hasattr(os, "getuid"):
        return
    found = path.stat()
    if found.st_uid not in (os.getuid(), 0):
        raise UsageError(f"{path}: it belongs to another user", _TRUST)
    if found.st_mode & stat.S_IWOTH:
        raise UsageError(f"{path}: every user may change it", _TRUST)


def _check_key(path: Path, written: _Written) -> None:
    """Raise `UsageError` for two keys, and for a command in a file that was found in the current folder: it
    would be run, and the file may be part of a download."""
    if written.key_command is None:
        return
    if written.key_file is not None:
        raise _wrong(path, ["key_command: the file also sets key_file; keep one of them"])
    if path == settings_places()[0]:
        raise UsageError(
            f"{path}: key_command: a file found in the current folder may not name a command to run", _TRUST
        )


def _parsed(path: Path) -> dict[str, Any]:
    if not path.exists():  # only possible for a file named by FACEKD_CONFIG
        raise UsageError(f"FACEKD_CONFIG: {path} does not exist", "Name a file, or unset it.")
    try:
        return tomllib.loads(read_text(path, _MOST_BYTES))
    except tomllib.TOMLDecodeError as error:
        raise _wrong(path, [f"not TOML: {error}"]) from None
    except Unreadable as error:
        raise _wrong(path, [error.cause.removeprefix(f"{path}: ")]) from None


def _wrong(path: Path, faults: list[str]) -> UsageError:
    return UsageError(
        f"{path}: {'; '.join(faults)}", "Correct the file; FACEKD_CONFIG names another, which may be empty."
    )


def _told(fault: Any) -> str:
    name, kind = str(fault["loc"][0]), fault["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, _Written.model_fields, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_Written.model_fields)}"
        return f"{name}: no such setting; {hint}"
    given = json.dumps(fault["input"], default=str, ensure_ascii=False)
    return f"{name}: {_WANTED.get(kind, fault['msg'])}, not {given}"


def _inside(folder: Path, written: str) -> Path:
    return folder / Path(written).expanduser()


def _gallery(path: Path, folder: Path, written: str) -> Place:
    """A file, or a database by its URL. Raises `UsageError` if the URL contains a password."""
    try:
        place = gallery_place(written)
    except UsageError as error:
        raise UsageError(f"{path}: gallery: {error.cause}", error.fix) from None
    return _inside(folder, written) if isinstance(place, Path) else place


def _detector(folder: Path, written: str) -> str:
    """A detector as the option accepts it, NAME or NAME:FILE."""
    name, colon, file = written.partition(":")
    return f"{name}:{_inside(folder, file)}" if colon and file else written
