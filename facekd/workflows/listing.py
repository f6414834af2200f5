"""Lists that operators write: who is to be enrolled, which photos are to be compared."""

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

#: how standard input is named on a command line
STDIN = Path("-")


@dataclass(frozen=True)
class Listing:
    """The ``text`` of a list, which errors call ``name``; relative paths in it start from ``folder``."""

    text: str
    name: str
    folder: Path


def read_listing(path: Path) -> Listing:
    """The list at ``path``, or the one that comes over standard input where that is `STDIN`: paths in it
    start from the current folder.

    Raises `InputOutput`, `TooLarge` or `Unreadable`.
    """
    if path != STDIN:
        return Listing(read_text(path), str(path), path.parent)
    if sys.stdin is None:
        raise InputOutput("standard input is closed")
    return Listing(read_text_stream(sys.stdin.buffer, "standard input"), "standard input", Path())


def people_listed(listing: Listing) -> dict[str, list[PhotoFile]]:
    """The photos in the columns ``name`` and ``photo`` of a CSV by whose they are; other columns are left
    alone, and a photo that stands twice under a name counts once.

    Whether a photo is there shows when it is read. Raises `Unreadable` with the line where the form is
    broken, `InputOutput` where nobody is listed.
    """
    rows = CsvRows(listing.text, listing.name)
    if "name" not in rows.head or "photo" not in rows.head:
        raise rows.wrong_head("A list of people begins with name,photo; further columns are ignored.")
    places = rows.head.index("name"), rows.head.index("photo")
    folder = open_source(listing.folder)
    people: dict[str, dict[str, PhotoFile]] = {}
    for line, fields in rows:
        # a spreadsheet writes an empty row as commas
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
    """``name`` as the gallery writes it, so that a person's lines come together; one that can be nobody's
    stays as it is, to be refused with its photos."""
    try:
        return clean_name(name)
    except UsageError:
        return name
