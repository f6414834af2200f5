"""How large a gallery is, and of what: counts, dates, photos of each person, quality."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from facekd.gallery.engine import Connection

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


def measure(db: Connection, size: int, tombstones: bool) -> Statistics:
    """Of the gallery ``db`` of ``size`` bytes, whose schema has ``tombstones`` or not."""

    def number(query: str) -> int:
        return int(db.execute(query).fetchone()[0])

    each = db.execute(
        "SELECT photos, count(*) FROM (SELECT count(*) AS photos FROM templates GROUP BY person) AS each"
        " GROUP BY photos ORDER BY photos"
    )
    templates, first, last = db.execute(
        "SELECT count(*), coalesce(min(enrolled), ''), coalesce(max(enrolled), '') FROM templates"
    ).fetchone()
    return Statistics(
        people=number("SELECT count(*) FROM people"),
        templates=templates,
        first=first,
        last=last,
        photos_each=dict(each.fetchall()),
        quality=_by_tenths(db, templates),
        removed_people=number("SELECT count(*) FROM removed_people") if tombstones else 0,
        removed_photos=number("SELECT count(*) FROM removed_photos") if tombstones else 0,
        bytes=size,
    )


def _by_tenths(db: Connection, templates: int) -> tuple[int, ...]:
    """How many of the ``templates`` have a quality in each tenth; the first and the last take what lies
    beyond."""
    edges = ", ".join(f"count(CASE WHEN quality >= {place / BINS} THEN 1 END)" for place in range(1, BINS))
    above = (templates, *db.execute(f"SELECT {edges} FROM templates").fetchone(), 0)
    return tuple(more - fewer for more, fewer in pairwise(above))
