"""How large a gallery is, and of what: counts, dates, photos of each person, quality."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

#: intervals of quality, from 0 to 1
BINS = 10


@dataclass(frozen=True)
class Statistics:
    """``photos_each``: how many people have so many photos, by the number of photos. ``quality``: templates
    by the tenth of [0, 1] in which their quality lies. ``removed`` people and photos are those that left a
    tombstone. ``first`` and ``last`` date of enrolment are empty where nobody is enrolled."""

    people: int
    templates: int
    first: str
    last: str
    photos_each: dict[int, int]
    quality: tuple[int, ...]
    removed_people: int
    removed_photos: int
    bytes: int


def measure(db: sqlite3.Connection, path: Path, tombstones: bool) -> Statistics:
    """Of the gallery ``db`` at ``path``, whose schema has ``tombstones`` or not."""

    def number(query: str) -> int:
        return int(db.execute(query).fetchone()[0])

    each = db.execute(
        "SELECT photos, count(*) FROM (SELECT count(*) AS photos FROM templates GROUP BY person)"
        " GROUP BY photos ORDER BY photos"
    )
    quality = [0] * BINS
    tenth = f"min({BINS - 1}, max(0, CAST(quality * {BINS} AS INTEGER)))"
    for place, count in db.execute(f"SELECT {tenth}, count(*) FROM templates GROUP BY 1"):
        quality[place] = count
    templates, first, last = db.execute(
        "SELECT count(*), coalesce(min(enrolled), ''), coalesce(max(enrolled), '') FROM templates"
    ).fetchone()
    return Statistics(
        people=number("SELECT count(*) FROM people"),
        templates=templates,
        first=first,
        last=last,
        photos_each=dict(each.fetchall()),
        quality=tuple(quality),
        removed_people=number("SELECT count(*) FROM removed_people") if tombstones else 0,
        removed_photos=number("SELECT count(*) FROM removed_photos") if tombstones else 0,
        bytes=sum(_size(Path(f"{os.path.realpath(path)}{ending}")) for ending in ("", "-wal")),
    )


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
