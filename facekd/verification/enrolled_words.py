"""A `GalleryResult` in words: one table of rates, one of persons, one of confusions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from facekd.verification.tables import attempt_rows, failures_row, measure, shortfalls, tar

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from facekd.verification.enrolled import AtThreshold, GalleryResult
    from facekd.verification.identification import OpenPoint

#: persons and confusions that are printed; the JSON document has all
SHOWN = 10
_INTERVALS = (
    "Intervals of TAR, FMR and FNMR are of a bootstrap over identities; those of searches (Wilson) count "
    "probes as independent and are too narrow where a person has several."
)


def gallery_rows(result: GalleryResult) -> list[tuple[str, str]]:
    """The table: what a row says, and its cell."""
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
    """What a reader of the table must know besides."""
    scores, at = result.scores, result.operating
    with_probes = int(((scores.templates > 0) & (scores.probes > 0)).sum())
    yield (
        f"Gallery: {result.enrolled:,} enrolled persons, one template each, {with_probes:,} of them with "
        f"probes; {len(result.unknown):,} persons among the probes are not enrolled. "
        f"{scores.mated.size:,} mated and {scores.non_mated:,} non-mated comparisons."
    )
    yield _INTERVALS
    if at is None:
        yield "No operating threshold: the model is not calibrated and these comparisons are too few."
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


def gallery_table(result: GalleryResult) -> Group:
    """Everything that is printed of ``result``."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rates = Table(box=None, show_header=False, pad_edge=False)
    for title, cell in [("in %, with 95 % interval", ""), *gallery_rows(result)]:
        rates.add_row(title, cell)
    at = result.operating
    details = [] if at is None else [*_missed(at), *_taken(at), *_confused(at)]
    return Group(rates, *[Text(line) for line in gallery_notes(result)], *details)


def _table(title: str, first: str, *others: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for other in others:
        table.add_column(other, overflow="fold")
    return table


def _missed(at: AtThreshold) -> Iterator[Table]:
    """Whose photos do not match their own template."""
    found = [person for person in at.people if person.misses]
    if found:
        table = _table(f"Most often missed ({len(found):,} persons)", "person", "missed", "FNMR, %")
        for person in found[:SHOWN]:
            missed = f"{person.misses:,} of {person.mated:,}"
            table.add_row(_name(person.name), missed, f"{100 * (person.fnmr or 0):.1f}")
        yield table


def _taken(at: AtThreshold) -> Iterator[Table]:
    """Whose template others' photos match."""
    found = sorted((p for p in at.people if p.others_taken), key=lambda p: (-p.others_taken, p.name))
    if found:
        title = f"Templates that others match most often ({len(found):,} persons)"
        table = _table(title, "person", "others' photos that match", "FMR, %")
        for person in found[:SHOWN]:
            matched = f"{person.others_taken:,} of {person.as_template:,}"
            table.add_row(_name(person.name), matched, f"{100 * (person.fmr or 0):.3g}")
        yield table


def _confused(at: AtThreshold) -> Iterator[Table]:
    """Who is confused with whom."""
    if at.confusions:
        title = f"Who is confused with whom ({len(at.confusions):,} pairs)"
        table = _table(title, "photos of", "match the template of", "photos", "highest score")
        unknown = {person.name for person in at.people if not person.enrolled}
        for pair in at.confusions[:SHOWN]:
            who = f"{pair.probe} (not enrolled)" if pair.probe in unknown else pair.probe
            told = f"{pair.matches:,} of {pair.probes:,}"
            table.add_row(_name(who), _name(pair.enrolled), told, f"{pair.highest:.4f}")
        yield table


def _name(name: str) -> str:
    from rich.markup import escape

    return escape(name)
