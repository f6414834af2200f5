"""Measure search indexes of a gallery in PostgreSQL beside the exact search.

    python tools/measure_indexes.py --people 10000 --people 100000 --engine exact --engine pgvector
    python tools/measure_indexes.py --people 1000000 --build-memory 4GB --buffers 2GB --removal-limit 60

A server with pgvector is started for it in a temporary folder, as the tests do (`tests/postgres_server.py`).
People are those of `measure_search`: synthetic, one template each, about as far from each other as a student
with so many values has people. Probes are templates with noise of the same length (a cosine of 0.71).

Every search is of a gallery that is open, with all that is read at first read. Times are those of the
processor, of this process and of the server's together, which on a machine with nothing else to do are those
by the clock: they take turns. "ms" are the median and the 95th percentile of one call. Memory is what the
engine holds of the gallery: of the exact search what this process has grown by, of pgvector the tables and
their graph, which are fast to search as far as the server's memory holds them. A removal is the whole of it,
with the erasure of the bytes; that of an erasure which is stopped at --removal-limit is null.
"""

from __future__ import annotations

import os

# before numpy is loaded
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Timer

import click
import numpy as np
from measure_search import CONTRACT, FALLS, drawn

from facekd.cli import run
from facekd.gallery import (
    CandidateSearch,
    Contract,
    GalleryRecords,
    PeopleSearch,
    SearchIndex,
    exact_nearest,
    noisy_probes,
    open_index,
    recall_of,
)

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from many_people import enroll_many
from postgres_server import PostgresServer

Floats = np.ndarray
_TOP = 5
#: people of whom each engine removes some in the end
_REMOVED, _LAST = 3, 100
_SETTINGS = {"max_wal_size": "4GB"}
_TABLES = "pg_total_relation_size('facekd.people') + pg_total_relation_size('facekd.templates')"


@dataclass(frozen=True)
class Measured:
    """What was measured of one engine in a gallery of ``people``; times in seconds or milliseconds, by
    name. ``records_mb`` are the tables that it was built from."""

    engine: str
    values: int
    links: int
    view: int
    people: int
    records_mb: float
    build_s: float
    memory_mb: float
    disk_mb: float
    recall_1: float
    recall_5: float
    one_ms: float
    one_p95_ms: float
    batch_ms: float
    batch_p95_ms: float
    remove_s: float | None


def resident_mb() -> float:
    """What this process holds of the memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Processors:
    """The processor time of this process and of the server that runs as process ``pid``."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def all_seconds(self) -> float:
        """With all that the server has run, to a hundredth of a second."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                own, ended = map(int, fields[11:13]), map(int, fields[13:15])
                if int(stat.parent.name) == self._pid:
                    ticks += sum(own) + sum(ended)
                elif int(fields[1]) == self._pid:
                    ticks += sum(own)
        return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()

    @staticmethod
    def seconds(backend: int) -> float:
        """With that process of the server, to a nanosecond."""
        return int(Path(f"/proc/{backend}/schedstat").read_text().split()[0]) / 1e9 + time.process_time()


@dataclass(frozen=True)
class Built:
    """A ``search`` that was built, what it takes of memory and disk in MB, and what has it keep so many in
    view."""

    search: PeopleSearch
    memory_mb: Callable[[], float]
    disk_mb: Callable[[], float]
    look_at: Callable[[int], object] = lambda view: None


@contextmanager
def exact(records: GalleryRecords, links: int) -> Iterator[Built]:
    before = resident_mb()
    index = SearchIndex(records)
    index.refresh()
    yield Built(index, lambda: resident_mb() - before, lambda: 0.0)


def size_mb(records: GalleryRecords, query: str) -> float:
    assert records.server is not None
    return int(records.server.rows(f"SELECT {query}")[0][0]) / 1e6


@contextmanager
def pgvector(records: GalleryRecords, links: int) -> Iterator[Built]:
    index = open_index(records, "pgvector")
    index.links = links  # type: ignore[attr-defined]
    search = CandidateSearch(records, index)
    search.rebuild()
    yield Built(
        search,
        lambda: size_mb(records, "pg_relation_size('facekd.vectors_by_direction')"),
        lambda: size_mb(records, "pg_total_relation_size('facekd.vectors')"),
        lambda view: setattr(index, "view", view),
    )
    index.drop()


#: how each engine is built for a gallery
ENGINES: dict[str, Callable[[GalleryRecords, int], AbstractContextManager[Built]]] = {
    "exact": exact,
    "pgvector": pgvector,
}


def times(action: Callable[[int], object], rounds: int, clock: Callable[[], float]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds of calls with 0, 1, ..."""
    taken = []
    for number in range(rounds):
        started = clock()
        action(number)
        taken.append(1000 * (clock() - started))
    return float(np.median(taken)), float(np.percentile(taken, 95))


def removals(
    records: GalleryRecords, names: list[str], clock: Callable[[], float], stopped: Callable[[], Timer]
) -> float | None:
    """The median in seconds; `None` where an erasure was stopped."""
    taken = []
    for name in names:
        started, timer = clock(), stopped()
        with records.transaction():
            records.remove(name)
        timer.cancel()
        if records.pending:
            return None
        taken.append(clock() - started)
    return float(np.median(taken))


def stopping(server: PostgresServer, url: str, backend: int, seconds: float) -> Callable[[], Timer]:
    """What stops the statement that ``backend`` runs ``seconds`` after the call."""

    def begun() -> Timer:
        timer = Timer(seconds, server.ask, ("SELECT pg_cancel_backend(%s)", url, (backend,)))
        timer.start()
        return timer

    return begun


def measure(
    server: PostgresServer, url: str, contract: Contract, engine: str, probes: Floats,
    right: list[list[str]], rounds: int, views: tuple[int, ...], links: int, limit: float,
) -> Iterator[Measured]:  # fmt: skip
    """Of one ``engine``; of pgvector for each of ``views``, in one index."""
    processors = Processors(server.pid)
    with GalleryRecords(url, contract) as records:
        assert records.server is not None
        backend = records.server.rows("SELECT pg_backend_pid()")[0][0]
        started = processors.all_seconds()
        found = []
        with ENGINES[engine](records, links) as built:
            took, search = processors.all_seconds() - started, built.search
            click.echo(f"{engine}: built in {took:.1f} s", err=True)
            for view in views if engine == "pgvector" else (0,):
                built.look_at(view)
                recall = recall_of(search.search(probes, _TOP).names, right)
                found.append((view, recall, search_times(search, probes, rounds, backend, processors)))
                click.echo(f"{engine}: {found[-1]}", err=True)
            held, people = (built.memory_mb(), built.disk_mb()), records.count()
            tables = size_mb(records, _TABLES)
            stopped = stopping(server, url, backend, limit)
            removed = removals(records, records.names()[-_REMOVED:], processors.all_seconds, stopped)
    for view, recall, each in found:
        yield Measured(
            engine, contract.dim, links, view, people, tables, took, *held, recall.at_1, recall.at_5, *each,
            removed,
        )  # fmt: skip


def search_times(
    search: PeopleSearch, probes: Floats, rounds: int, backend: int, processors: Processors
) -> tuple[float, float, float, float]:
    """As `times`, one at a time and 64 at once."""
    batches = len(probes) // 64

    def one(number: int) -> object:
        return search.search(probes[number % len(probes)][None], _TOP)

    def many(number: int) -> object:
        return search.search(probes[64 * (number % batches) :][:64], _TOP)

    def clock() -> float:
        return processors.seconds(backend)

    return *times(one, rounds, clock), *times(many, max(3, rounds // 10), clock)


@click.command()
@click.option("--people", "sizes", type=click.IntRange(1000), multiple=True, default=(10_000, 100_000))
@click.option("--engine", "engines", type=click.Choice(list(ENGINES)), multiple=True, default=tuple(ENGINES))
@click.option("--rounds", default=100, show_default=True, help="Searches with one probe; a tenth with 64.")
@click.option("--probes", "count", default=256, show_default=True)
@click.option(
    "--links", type=click.IntRange(2, 100), default=32, help="m of pgvector's graph.", show_default=True
)
@click.option(
    "--view", "views", type=click.IntRange(1, 1000), multiple=True, default=(400,),
    help="hnsw.ef_search of pgvector, each measured in the same index.",
)  # fmt: skip
@click.option(
    "--values", type=click.Choice(list(FALLS)), default=256, help="Of a template.", show_default=True
)
@click.option("--buffers", default="256MB", help="shared_buffers of the server.", show_default=True)
@click.option("--build-memory", default="64MB", help="maintenance_work_mem of the server.", show_default=True)
@click.option(
    "--removal-limit", default=600.0, help="Seconds before an erasure is stopped.", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures there, as JSON lines.")
def main(
    sizes: tuple[int, ...],
    engines: tuple[str, ...],
    rounds: int,
    count: int,
    views: tuple[int, ...],
    links: int,
    values: int,
    buffers: str,
    build_memory: str,
    removal_limit: float,
    out: Path | None,
) -> None:
    """Measure searches of synthetic people in a PostgreSQL server with pgvector."""
    settings = _SETTINGS | {"shared_buffers": buffers, "maintenance_work_mem": build_memory}
    contract = replace(CONTRACT, dim=values)
    server = PostgresServer(settings, vector=True)
    try:
        for size in sizes:
            rows = drawn(size, values=values)
            url = server.new_database()
            enroll_many(url, contract, rows)
            # the last are removed by the measurements
            probes = noisy_probes(rows[np.random.default_rng(1).choice(size - _LAST, count)])
            names = [f"{number:07}" for number in range(size)]
            blocks = ((names[at : at + 4096], rows[at : at + 4096]) for at in range(0, size, 4096))
            right = exact_nearest(blocks, probes, _TOP)
            del rows, blocks
            for engine in engines:
                for found in measure(
                    server, url, contract, engine, probes, right, rounds, views, links, removal_limit
                ):
                    click.echo(" ".join(f"{name}={value}" for name, value in asdict(found).items()))
                    sys.stdout.flush()
                    if out is not None:
                        with out.open("a") as lines:
                            lines.write(json.dumps(asdict(found)) + "\n")
            server.empty_databases()
    finally:
        server.close()


if __name__ == "__main__":
    raise SystemExit(run(main))
