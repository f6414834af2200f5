"""What holds where a call does not say: the settings of a file ``facekd.toml``."""

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
_TRUST = "If you trust it, name it by FACEKD_CONFIG."
#: what a fault of pydantic's means to whoever wrote the file
_WANTED = {
    "string_type": "should be a text",
    "string_too_short": "should not be empty",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "greater_than_equal": "should lie in [-1, 1]",
    "less_than_equal": "should lie in [-1, 1]",
    "greater_than": "should lie between 0 and 1",
    "less_than": "should lie between 0 and 1",
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
    """The settings of ``path``, a file ``facekd.toml``; `None` where it has none. Paths are those that the
    file means: relative ones start from its folder."""

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
        """The settings that the file has."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "path"}
        return {name: value for name, value in values.items() if value is not None}


def read_defaults() -> Defaults | None:
    """The settings of the file in use (`settings_file`); `None` where there is no such file.

    Raises `UsageError` for what it must not say, all faults at once, where ``FACEKD_CONFIG`` names no file,
    and for one in the current folder that another user may have written; `InputOutput` where it cannot be
    read.
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
        raise _wrong(path, [f"threshold: the file sets {' and '.join(rates)}, too; keep one of the two"])
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
    """Raise `UsageError` for a file that merely lies in the current folder, where somebody else may have
    put it: it would choose the model and the threshold."""
    if not hasattr(os, "getuid"):
        return
    found = path.stat()
    if found.st_uid not in (os.getuid(), 0):
        raise UsageError(f"{path}: it belongs to another user", _TRUST)
    if found.st_mode & stat.S_IWOTH:
        raise UsageError(f"{path}: everybody may change it", _TRUST)


def _check_key(path: Path, written: _Written) -> None:
    """Raise `UsageError` for two keys, and for a command in a file that merely lies in the current folder,
    which may have come with a download: it would be run."""
    if written.key_command is None:
        return
    if written.key_file is not None:
        raise _wrong(path, ["key_command: the file sets key_file, too; keep one of the two"])
    if path == settings_places()[0]:
        raise UsageError(
            f"{path}: key_command: a file in the current folder may not name a command to be run", _TRUST
        )


def _parsed(path: Path) -> dict[str, Any]:
    if not path.exists():  # which only one that was named can be
        raise UsageError(f"FACEKD_CONFIG: {path} does not exist", "Name a file, or unset it.")
    try:
        return tomllib.loads(read_text(path, _MOST_BYTES))
    except tomllib.TOMLDecodeError as error:
        raise _wrong(path, [f"no TOML: {error}"]) from None
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
    """A file, or a database by its URL. Raises `UsageError` where that holds a password."""
    try:
        place = gallery_place(written)
    except UsageError as error:
        raise UsageError(f"{path}: gallery: {error.cause}", error.fix) from None
    return _inside(folder, written) if isinstance(place, Path) else place


def _detector(folder: Path, written: str) -> str:
    """A detector as an option takes it, NAME or NAME:FILE."""
    name, colon, file = written.partition(":")
    return f"{name}:{_inside(folder, file)}" if colon and file else written
