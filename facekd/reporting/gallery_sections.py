"""The sections of a gallery's page."""

from __future__ import annotations

from collections.abc import Iterator

from facekd.reporting.cells import page_cell
from facekd.reporting.gallery_tables import Listing, gallery_listings, gallery_notes, gallery_rows
from facekd.reporting.lost_photos import lost_photos_tables
from facekd.reporting.page import Cell, Section, Table
from facekd.reporting.page_parts import PageParts
from facekd.reporting.reading_words import reading_section
from facekd.reporting.result_figures import drawings
from facekd.verification.results import GalleryEvaluation

GALLERY_SECTIONS: PageParts[GalleryEvaluation, Section] = PageParts()
#: people and pairs on a page; the JSON document has all of them
SHOWN = 25
_READ_FIRST = (
    "Read the pairs first. If nearly all photos of one folder match one template, they are most likely of "
    "that person: a folder with another spelling of a name than the gallery counts as another person."
)
_FEW = (
    "Most people have few photos, so a person's own rate says little; look at the counts. People without an "
    "error are not listed."
)


@GALLERY_SECTIONS.register(10)
def measured(found: GalleryEvaluation) -> Iterator[Section]:
    facts = (
        ("Gallery", found.gallery.name),
        ("Probes", found.data.name),
        ("Model", Cell(found.model, found.space[:16])),
        ("Detector", found.detector),
        ("Aligner", found.aligner),
        ("Photos", Cell(f"{len(found.probes.photos):,}", f"{len(found.probes.left_out):,} left out")),
        ("Failures to acquire", f"{len(found.failures):,}"),
    )
    lost = dict(found.probes.left_out) | dict(found.failures)
    tables = (
        Table(("Given", "Value"), facts, "This evaluation"),
        *lost_photos_tables(tuple(lost.items()), "Photos not compared"),
    )
    yield Section("What was measured", found.notes, tables)


@GALLERY_SECTIONS.register(20)
def numbers(found: GalleryEvaluation) -> Iterator[Section]:
    rows = tuple((title, page_cell(cell)) for title, cell in gallery_rows(found.result))
    table = Table(("Measure", found.model), rows, "Rates in %, with their 95 % intervals below")
    yield Section("Numbers", tuple(gallery_notes(found.result)), (table,))


@GALLERY_SECTIONS.register(30)
def pictures(found: GalleryEvaluation) -> Iterator[Section]:
    drawn = tuple(drawing.picture() for drawing in drawings({found.model: found.result}))
    if drawn:
        yield Section("Pictures", pictures=drawn)


@GALLERY_SECTIONS.register(40)
def people(found: GalleryEvaluation) -> Iterator[Section]:
    at = found.result.operating
    listings = gallery_listings(at) if at else ()
    if listings:
        yield Section("Who is missed, who is confused", (_READ_FIRST, _FEW), tuple(map(_table, listings)))


def _table(listing: Listing) -> Table:
    left = len(listing.rows) - SHOWN
    more = f"; the first {SHOWN} of them" if left > 0 else ""
    return Table(listing.columns, listing.rows[:SHOWN], f"{listing.title}{more}")


@GALLERY_SECTIONS.register(50)
def reading(found: GalleryEvaluation) -> Iterator[Section]:
    yield reading_section([title for title, _ in gallery_rows(found.result)])
