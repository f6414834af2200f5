"""The parts of a gallery's page that follow from its result alone."""

from __future__ import annotations

from collections.abc import Iterator

from facekd.reporting.cells import percent
from facekd.reporting.evaluation_sections import cell_of, reading_of
from facekd.reporting.gallery_drawings import gallery_drawings
from facekd.reporting.gallery_tables import Listing, gallery_listings, gallery_notes, gallery_rows
from facekd.reporting.page import Section, Table
from facekd.verification.results import GalleryResult

#: persons and pairs on a page; the JSON document has all
SHOWN = 25
_READ_FIRST = (
    "Read the pairs first. Where nearly all photos of one folder match one template, they are most likely of "
    "that person: a folder whose name is written otherwise than in the gallery counts as a stranger's."
)
_FEW = (
    "Most persons have few photos, so that a person's own rate says little; look at the counts. Who has no "
    "error is not listed."
)


def gallery_headlines(name: str, result: GalleryResult) -> Iterator[str]:
    """What the model does with this gallery at its operating threshold."""
    at = result.operating
    if at is None:
        return
    missed = f"{percent(at.fnmr_interval.low)} to {percent(at.fnmr_interval.high)}"
    false = f"{percent(at.fmr_interval.low, 4)} to {percent(at.fmr_interval.high, 4)}"
    yield (
        f"{name} misses {percent(at.fnmr)} % of the photos of enrolled people (95 % interval {missed}) and "
        f"takes a photo for somebody else in {percent(at.fmr, 4)} % of the comparisons ({false})."
    )


def gallery_sections(name: str, result: GalleryResult) -> Iterator[Section]:
    """Numbers, pictures, persons, and what the words mean."""
    rows = gallery_rows(result)
    table = Table(
        ("", name), tuple((title, cell_of(cell)) for title, cell in rows), "In %, with 95 % intervals below"
    )
    yield Section("Numbers", tuple(gallery_notes(result)), (table,))
    pictures = tuple(drawing.picture() for drawing in gallery_drawings({name: result}))
    if pictures:
        yield Section("Pictures", pictures=pictures)
    listings = gallery_listings(result.operating) if result.operating else ()
    if listings:
        yield Section("Who is missed, who is confused", (_READ_FIRST, _FEW), tuple(map(_table, listings)))
    yield reading_of([title for title, _ in rows])


def _table(listing: Listing) -> Table:
    left = len(listing.rows) - SHOWN
    more = f"; the first {SHOWN} of them" if left > 0 else ""
    return Table(listing.columns, listing.rows[:SHOWN], f"{listing.title}{more}")
