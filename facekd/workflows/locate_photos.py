"""Find the photos of a list in the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from facekd.errors import UsageError


def locate(wanted: Sequence[str], names: Sequence[str]) -> list[str | None]:
    """The name in ``names`` for each of ``wanted``; `None` if there is none.

    The images may be in further folders, and may have another suffix. Raises `UsageError` if two match
    equally well.
    """
    exact = set(names)
    by_file: dict[str, list[str]] = {}
    for name in names:
        by_file.setdefault(_stem(name).rpartition("/")[2], []).append(name)
    return [name if name in exact else _only(name, by_file) for name in wanted]


def _only(wanted: str, by_file: dict[str, list[str]]) -> str | None:
    ending = "/" + _stem(wanted)
    near = [n for n in by_file.get(ending.rpartition("/")[2], []) if f"/{_stem(n)}".endswith(ending)]
    same_suffix = [name for name in near if name.endswith(wanted)]
    found = same_suffix or near
    if len(found) > 1:
        raise UsageError(
            f"{wanted}: the data contains it {len(found)} times: {found[0]}, {found[1]}",
            "Give the folder that the paths in the list are relative to.",
        )
    return found[0] if found else None


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
