"""What a gallery of 100 million people would need, extrapolated from the figures of measure_indexes.py.

    python tools/measure_indexes.py --people 10000 --people 100000 --people 1000000 --out figures.jsonl
    python tools/size_indexes.py figures.jsonl --links 32 --like 16

Memory, disk, removals, reading everybody and the exact search grow with the number of people, from the
largest gallery that was measured. The time to build the graph, for each person, and that of a search by it
grow by the same factor for each factor of ten in people: by the last that was measured. Where graphs of
--links were not measured as far as those of --like, theirs continue by the factor of those.

Prints a table in Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

Figures = dict[str, Any]
_SHOWN = 1_000_000, 100_000_000


@dataclass(frozen=True)
class Series:
    """Figures of one engine by the number of people, rising: a power of ten each."""

    of_sizes: dict[int, Figures]

    @property
    def largest(self) -> int:
        return max(self.of_sizes)

    def each(self, name: str) -> float:
        """For each person, of the largest of which it is known: an erasure may have been stopped."""
        size = max(size for size, line in self.of_sizes.items() if line.get(name) is not None)
        return self.at(size, name) / size

    def at(self, size: int, name: str) -> float:
        return float(self.of_sizes[size][name])

    def factor(self, name: str, per_person: bool) -> float:
        """From the last size but one to the last, which is ten times as large."""
        before = self.largest // 10
        return self.at(self.largest, name) / self.at(before, name) / (10 if per_person else 1)


def series_of(lines: list[Figures], engine: str, links: int, view: int, values: int) -> Series:
    """Raises `click.UsageError` where fewer than two sizes, ten times apart, were measured."""
    found = {
        10 ** (len(str(line["people"] + 10)) - 1): line
        for line in lines
        if (line["engine"], line["values"]) == (engine, values)
        and (engine == "exact" or (line["links"], line["view"]) == (links, view))
    }
    if len(found) < 2 or max(found) // 10 not in found:
        raise click.UsageError(f"{engine}, m = {links}, view {view}: measure two sizes, ten times apart")
    return Series(dict(sorted(found.items())))


def growing(own: Series, like: Series, name: str, per_person: bool) -> tuple[float, Callable[[int], float]]:
    """The factor for ten times as many people, and what it gives for some number of them."""
    known = own if own.largest >= like.largest else like
    factor = known.factor(name, per_person)

    def at(size: int) -> float:
        found, people = own.at(own.largest, name), own.largest
        while people < size:
            found, people = found * factor * (10 if per_person else 1), people * 10
        return found

    return factor, at


def in_bytes(megabytes: float) -> str:
    return f"{megabytes / 1000:,.1f} GB" if megabytes < 100_000 else f"{megabytes / 1000:,.0f} GB"


def in_time(seconds: float) -> str:
    """In the unit that leaves a number to read."""
    for unit, name in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 3 * unit:
            return f"{seconds / unit:,.{int(seconds < 10 * unit)}f} {name}"
    return f"{1000 * seconds:,.0f} ms"


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def table(graph: Series, like: Series, exact: Series) -> list[str]:
    rows = [row("", "for each person", *(f"{size // 1_000_000} million" for size in _SHOWN))]
    rows.append(row(*["---"] * 4))
    for what, of, name in (
        ("graph, in the server's memory", graph, "memory_mb"),
        ("index on disk, with the graph", graph, "disk_mb"),
        ("people and templates on disk", exact, "records_mb"),
        ("exact: memory of each process", exact, "memory_mb"),
    ):
        each = of.each(name)
        rows.append(row(what, f"{1000 * each:.1f} KB", *(in_bytes(each * size) for size in _SHOWN)))
    factor, at = growing(graph, like, "build_s", per_person=True)
    base = 1000 * graph.each("build_s")
    told = f"{base:.1f} ms at {graph.largest:,}, × {factor:.1f} for ten times as many"
    rows.append(row("build, processor time", told, *(in_time(at(size)) for size in _SHOWN)))
    for what, name, batch in (("a search alone", "one_ms", 1), ("a search of 64", "batch_ms", 64)):
        factor, at = growing(graph, like, name, per_person=False)
        base = graph.at(graph.largest, name) / batch
        told = f"{base:.0f} ms at {graph.largest:,}, × {factor:.1f}"
        rows.append(row(what, told, *(in_time(at(size) / batch / 1000) for size in _SHOWN)))
    rows.append(linear("a removal, with the erasure", graph.each("remove_s"), "µs"))
    for what, name, unit, parts in (
        ("exact: reading everybody", "build_s", "µs", 1),
        ("exact: a search alone", "one_ms", "ns", 1000),
        ("exact: a search of 64", "batch_ms", "ns", 64_000),
    ):
        rows.append(linear(what, exact.each(name) / parts, unit))
    return rows


def linear(what: str, seconds: float, unit: str) -> str:
    each = f"{seconds * (1e6 if unit == 'µs' else 1e9):.0f} {unit}"
    return row(what, each, *(in_time(seconds * size) for size in _SHOWN))


@click.command()
@click.argument("figures", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--links", default=32, show_default=True)
@click.option("--like", default=16, show_default=True)
@click.option("--view", default=400, show_default=True)
@click.option("--values", default=256, show_default=True)
def main(figures: Path, links: int, like: int, view: int, values: int) -> None:
    """Extrapolate to 100 million people."""
    lines = [json.loads(line) for line in figures.read_text().splitlines()]
    graph, other = (series_of(lines, "pgvector", each, view, values) for each in (links, like))
    for line in table(graph, other, series_of(lines, "exact", 0, 0, values)):
        click.echo(line)


if __name__ == "__main__":
    main()
