"""A `GalleryResult` as text: one table of rates, one of people, one of confusions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facekd.reporting.cells import attempt_rows, failures_row, measure, shortfalls, tar

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from facekd.verification.results import AtThreshold, GalleryResult, OpenPoint

#: people and confusions that are printed; the JSON document has all of them
SHOWN = 10
_INTERVALS = (
    "Intervals of TAR, FMR and FNMR are from a bootstrap over identities; those of searches (Wilson) treat "
    "probes as independent and are too narrow if a person has several."
)


def gallery_rows(result: GalleryResult) -> list[tuple[str, str]]:
    """The rows of the table: a label and a cell."""
    told = [(f"TAR@FMR {point.fmr:g}", tar(point)) for point in result.points]
    told += attempt_rows(result.points, result.lost)
    at = result.operating
    if at is not None:
        told += [
            ("FMR at the operating threshold", measure(at.fmr, at.fmr_interval, 4)),
            ("FNMR at the operating threshold", measure(at.fnmr, at.fnmr_interval)),
        ]
    told += [(f"rank {point.rank}", measure(point.rate, point.interval)) for point in result.ranks]
    told += [(f"FNIR@FPIR {point.fpir:g}", _fnir(point)) for point in result.open_set]
    return [*told, failures_row(len(result.failed), result.photos)]


def _fnir(point: OpenPoint) -> str:
    return "insufficient data" if point.fnir is None else measure(point.fnir, point.interval)


def gallery_notes(result: GalleryResult) -> Iterator[str]:
    """The notes that a reader of the table needs."""
    scores, at = result.scores, result.operating
    with_probes = int(((scores.templates > 0) & (scores.probes > 0)).sum())
    yield (
        f"Gallery: {result.enrolled:,} enrolled people, one template each, {with_probes:,} of them with "
        f"probes; {len(result.unknown):,} people among the probes are not enrolled. "
        f"{scores.mated.size:,} mated and {scores.non_mated:,} non-mated comparisons."
    )
    yield _INTERVALS
    if at is None:
        yield "No operating threshold: the model is not calibrated, and there are too few comparisons."
    else:
        yield (
            f"Operating threshold: {at.threshold:.4f}, {at.origin}; {at.false_matches:,} of "
            f"{scores.non_mated:,} non-mated comparisons match, {at.misses:,} of {scores.mated.size:,} mated "
            "ones do not."
        )
    yield from shortfalls(result.points)
    for point in result.open_set:
        if point.shortfall:
            yield f"FNIR@FPIR {point.fpir:g}: {point.shortfall}."


@dataclass(frozen=True)
class Listing:
    """People or pairs of people, the worst first; ``title`` says what they are and how many."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def gallery_listings(at: AtThreshold) -> tuple[Listing, ...]:
    """Who is missed, whose template others match, who is confused with whom; lists without entries are
    left out."""
    return tuple(listing for listing in (_missed(at), _taken(at), _confused(at)) if listing.rows)


def gallery_table(result: GalleryResult) -> Group:
    """Everything that is printed of ``result``."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rates = Table(box=None, show_header=False, pad_edge=False)
    for title, cell in [("in %, with 95 % interval", ""), *gallery_rows(result)]:
        rates.add_row(title, cell)
    listings = gallery_listings(result.operating) if result.operating else ()
    return Group(
        rates, *[Text(line) for line in gallery_notes(result)], *[_table(listing) for listing in listings]
    )


def _table(listing: Listing) -> Table:
    """The first rows of ``listing``."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=listing.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in listing.columns:
        table.add_column(column, overflow="fold")
    for row in listing.rows[:SHOWN]:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _missed(at: AtThreshold) -> Listing:
    """People whose photos do not match their own template."""
    rows = tuple(
        (person.name, f"{person.misses:,} of {person.mated:,}", f"{100 * (person.fnmr or 0):.1f}")
        for person in at.people
        if person.misses
    )
    return Listing(f"Most often missed ({len(rows):,} people)", ("person", "missed", "FNMR, %"), rows)


def _taken(at: AtThreshold) -> Listing:
    """People whose template others' photos match."""
    found = sorted((p for p in at.people if p.others_taken), key=lambda p: (-p.others_taken, p.name))
    rows = tuple(
        (person.name, f"{person.others_taken:,} of {person.as_template:,}", f"{100 * (person.fmr or 0):.3g}")
        for person in found
    )
    title = f"Templates that others match most often ({len(rows):,} people)"
    return Listing(title, ("person", "others' photos that match", "FMR, %"), rows)


def _confused(at: AtThreshold) -> Listing:
    """Pairs of people who are confused with each other."""
    unknown = {person.name for person in at.people if not person.enrolled}
    rows = tuple(
        (
            f"{pair.probe} (not enrolled)" if pair.probe in unknown else pair.probe,
            pair.enrolled,
            f"{pair.matches:,} of {pair.probes:,}",
            f"{pair.highest:.4f}",
        )
        for pair in at.confusions
    )
    columns = ("photos of", "match the template of", "photos", "highest score")
    return Listing(f"Who is confused with whom ({len(rows):,} pairs)", columns, rows)
