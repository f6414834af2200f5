"""Results as a plain list of numbers, for a spreadsheet or other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facekd.csv_rows import csv_line
from facekd.files import write_atomically

#: the keys that can identify the entries of a list; the first that all entries have is used
_KEYS = ("fmr", "fpir", "rank", "fold", "group", "name", "probe")


def write_numbers(path: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write every value of ``results`` (documents from `Result.to_dict`, by model) to the CSV
    ``path`` as ``model,measure,value``; unknown values are empty.

    Raises `InputOutput` if it cannot be written.
    """
    lines = [csv_line(["model", "measure", "value"])]
    for name, document in results.items():
        lines += [csv_line([name, measure, _told(value)]) for measure, value in flattened(document)]
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))


def flattened(document: Any, measure: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of a document with its path: ``operating_points[fmr=0.001].tar``. Entries of a list
    are identified by their FMR, rank, fold or name if these differ, otherwise by their number from 0."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from flattened(value, f"{measure}.{key}" if measure else str(key))
    elif isinstance(document, list | tuple):
        for told, value in zip(_places(document), document, strict=True):
            yield from flattened(value, f"{measure}[{told}]")
    else:
        yield measure, document


def _places(entries: list[Any] | tuple[Any, ...]) -> list[str]:
    if all(isinstance(entry, Mapping) for entry in entries):
        for key in _KEYS:
            known = [str(entry.get(key)) for entry in entries]
            if all(key in entry for entry in entries) and len(set(known)) == len(known):
                return [f"{key}={value}" for value in known]
    return [str(number) for number in range(len(entries))]


def _told(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    # repr writes every digit needed to read the same number again
    return repr(value) if isinstance(value, float) else str(value)
