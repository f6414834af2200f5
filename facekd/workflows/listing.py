"""Lists written by operators: people to enroll, photos to search for or to compare."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facekd.csv_rows import CsvRows
from facekd.errors import InputOutput, UsageError
from facekd.files import read_text, read_text_stream
from facekd.gallery import clean_name
from facekd.preprocess import open_source
from facekd.workflows.photos_given import PhotoFile, VideoFile, photo_or_video

#: the path that stands for standard input
STDIN = Path("-")


@dataclass(frozen=True)
class Listing:
    """The ``text`` of a list, called ``name`` in errors; relative paths in it start from ``folder``."""

    text: str
    name: str
    folder: Path


def is_listing(path: Path) -> bool:
    """Whether ``path`` is a list: a CSV file, or `STDIN`."""
    return path == STDIN or (path.suffix.lower() == ".csv" and not path.is_dir())


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


def people_listed(listing: Listing) -> dict[str, list[PhotoFile | VideoFile]]:
    """The photos and videos in the columns ``name`` and ``photo`` of a CSV, by name; other columns are
    ignored, and a photo listed twice under a name counts once.

    A missing photo fails only when it is read. Raises `Unreadable`, with the line, for an invalid list,
    `InputOutput` if nobody is listed.
    """
    folder = open_source(listing.folder)
    people: dict[str, dict[str, PhotoFile | VideoFile]] = {}
    for name, photo in _filled(listing, ("name", "photo"), "A list of people begins with name,photo"):
        people.setdefault(_one_spelling(name), {}).setdefault(photo, photo_or_video(folder, photo))
    if not people:
        raise InputOutput(f"{listing.name}: nobody is listed")
    return {name: list(photos.values()) for name, photos in people.items()}


def photos_listed(listing: Listing) -> dict[str, PhotoFile | VideoFile]:
    """The photos and videos in the column ``photo`` of a CSV, by their text in the list; other columns are
    ignored. Raises as `people_listed` does."""
    folder = open_source(listing.folder)
    photos = {
        photo: photo_or_video(folder, photo)
        for (photo,) in _filled(listing, ("photo",), "A list of photos begins with photo")
    }
    if not photos:
        raise InputOutput(f"{listing.name}: no photo is listed")
    return photos


def _filled(listing: Listing, columns: Sequence[str], form: str) -> Iterator[list[str]]:
    """The values of ``columns`` in each line; the last of them is a path."""
    rows = CsvRows(listing.text, listing.name)
    if not set(columns) <= set(rows.head):
        raise rows.wrong_head(f"{form}; further columns are ignored.")
    for line, fields in rows:
        # spreadsheets write an empty row as commas
        if not any(fields):
            continue
        if len(fields) != len(rows.head):
            raise rows.fault(line, f"expected {len(rows.head)} columns, found {len(fields)}")
        found = [fields[rows.head.index(column)] for column in columns]
        if not all(found):
            raise rows.fault(line, "expected " + " and ".join(f"a {column}" for column in columns))
        found[-1] = found[-1].replace("\\", "/").removeprefix("./")
        yield found


def _one_spelling(name: str) -> str:
    """``name`` as the gallery writes it, so that the lines of a person are collected. An invalid name is kept
    as it is, to be refused with its photos."""
    try:
        return clean_name(name)
    except UsageError:
        return name
