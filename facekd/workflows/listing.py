"""Lists that operators write: people to enroll, or photos to compare."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from facekd.csv_rows import CsvRows
from facekd.errors import InputOutput, UsageError
from facekd.files import read_text, read_text_stream
from facekd.gallery import clean_name
from facekd.preprocess import open_source
from facekd.workflows.enroll import PhotoFile

#: the path that stands for standard input
STDIN = Path("-")


@dataclass(frozen=True)
class Listing:
    """The ``text`` of a list, called ``name`` in errors; relative paths in it start from ``folder``."""

    text: str
    name: str
    folder: Path


def read_listing(path: Path) -> Listing:
    """The list at ``path``, or from standard input if that is `STDIN`; its paths then start from the current
    folder.

    Raises `InputOutput`, `TooLarge` or `Unreadable`.
    """
    if path != STDIN:
        return Listing(read_text(path), str(path), path.parent)
    if sys.stdin is None:
        raise InputOutput("standard input is closed")
    return Listing(read_text_stream(sys.stdin.buffer, "standard input"), "standard input", Path())


def people_listed(listing: Listing) -> dict[str, list[PhotoFile]]:
    """The photos by person in a CSV with the columns ``name`` and ``photo``; other columns are ignored, and a
    photo that is listed twice under a name counts once.

    A missing photo fails only when it is read. Raises `Unreadable`, with the line, for an invalid list,
    `InputOutput` if nobody is listed.
    """
    rows = CsvRows(listing.text, listing.name)
    if "name" not in rows.head or "photo" not in rows.head:
        raise rows.wrong_head("A list of people begins with name,photo; further columns are ignored.")
    places = rows.head.index("name"), rows.head.index("photo")
    folder = open_source(listing.folder)
    people: dict[str, dict[str, PhotoFile]] = {}
    for line, fields in rows:
        # spreadsheets write an empty row as commas
        if not any(fields):
            continue
        if len(fields) != len(rows.head):
            raise rows.fault(line, f"expected {len(rows.head)} columns, found {len(fields)}")
        name, photo = (fields[place] for place in places)
        if not name or not photo:
            raise rows.fault(line, "expected a name and a photo")
        photo = photo.replace("\\", "/").removeprefix("./")
        people.setdefault(_one_spelling(name), {}).setdefault(photo, PhotoFile(folder, photo))
    if not people:
        raise InputOutput(f"{listing.name}: nobody is listed")
    return {name: list(photos.values()) for name, photos in people.items()}


def _one_spelling(name: str) -> str:
    """``name`` as the gallery writes it, so that the lines of a person are collected. An invalid name is kept
    as it is, to be refused with its photos."""
    try:
        return clean_name(name)
    except UsageError:
        return name
