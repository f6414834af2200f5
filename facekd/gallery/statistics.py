"""The size of a gallery, and its contents: counts, dates, photos per person, quality."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from facekd.gallery.engine import Connection

#: intervals of quality in [0, 1]
BINS = 10


@dataclass(frozen=True)
class Statistics:
    """``photos_each``: the number of people by their number of photos. ``quality``: the number of templates
    by tenth of [0, 1]. ``removed`` people and photos are those that left a tombstone. The dates of enrolment
    ``first`` and ``last`` are empty if nobody is enrolled."""

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
    """The statistics of the gallery ``db`` of ``size`` bytes, whose schema may have ``tombstones``."""

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
    """How many of the ``templates`` have a quality in each tenth; values outside [0, 1] count in the first or
    the last."""
    edges = ", ".join(f"count(CASE WHEN quality >= {place / BINS} THEN 1 END)" for place in range(1, BINS))
    above = (templates, *db.execute(f"SELECT {edges} FROM templates").fetchone(), 0)
    return tuple(more - fewer for more, fewer in pairwise(above))
