"""Measure an index in Milvus beside facekd's exact search: recall, time, memory, and what changes cost.

    python tools/measure_milvus.py --people 10000 --people 100000
    python tools/measure_milvus.py --people 1000000 --at https://milvus.example.org
    python tools/measure_milvus.py --people 100000 --at http://localhost:19530 --server-pid PID

People and probes are those of measure_search.py, which states how they are drawn. Recall is the share of the
people that brute force in double precision finds, among as many that the index names. Times are those of the
clock; where both sides of the connection are on this machine, those of the processor too, of both together:
of Milvus Lite, which is started in this process where no server is given, and of a server of one process
whose number is given. Memory is what that process has more after the build than before. The collection is
dropped at the end. The token of a server comes from FACEKD_MILVUS_TOKEN_FILE or FACEKD_MILVUS_TOKEN.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# sets the number of threads before numpy is loaded
from measure_search import BATCHES, CONTRACT, FALLS, InMemory, drawn  # isort: skip

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.gallery import IndexStamp, MilvusIndex, SearchIndex, milvus_index

Floats = NDArray[np.float32]

_TOP = 5
#: people that are read from the records at once
_BLOCK = 4096
#: probes that recall is measured with, and people who are removed one by one
_PROBES, _REMOVED = 256, 20


@dataclass(frozen=True)
class Server:
    """Where Milvus is; ``settled`` waits until it has done what it does behind a build; ``pid`` is its
    process where it runs here, which may be this one."""

    uri: str
    settled: Callable[[], None]
    pid: int | None

    def busy(self) -> float:
        """Seconds of the processor, of this process and the server's together; 0 if that is elsewhere."""
        if self.pid is None:
            return 0.0
        return time.process_time() + (0.0 if self.pid == os.getpid() else processor_seconds(self.pid))

    def busy_word(self, seconds: float, digits: int = 1) -> str:
        return "" if self.pid is None else f" (processor {seconds:.{digits}f})"


def processor_seconds(pid: int) -> float:
    """What all threads of a process have run."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def lite(stack: ExitStack) -> Server:
    """Milvus Lite in a thread of this process."""
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    folder = stack.enter_context(tempfile.TemporaryDirectory())
    server, database, port = start_server_in_thread(str(Path(folder) / "milvus"))
    stack.callback(database.close)
    stack.callback(server.stop, 0)

    def settled() -> None:
        # it says that a graph is finished before it was begun
        for name in database.list_collections():
            database.get_collection(name)._wait_for_bg()

    return Server(f"http://127.0.0.1:{port}", settled, os.getpid())


def id_of(place: int) -> str:
    return f"{place:032x}"


def blocks(rows: Floats) -> Iterator[tuple[list[str], Floats]]:
    for start in range(0, len(rows), _BLOCK):
        end = min(len(rows), start + _BLOCK)
        yield [id_of(place) for place in range(start, end)], rows[start:end]


def probes_of(rows: Floats) -> Floats:
    """Noisy copies of some, as in measure_search.py."""
    random = np.random.default_rng(1)
    dim = rows.shape[1]
    probes = rows[random.integers(len(rows), size=_PROBES)] + 0.02 * drawn(_PROBES, 2, dim)
    probes = probes + (random.normal(size=probes.shape) / np.sqrt(dim)).astype(np.float32)
    return np.asarray(probes / np.linalg.norm(probes, axis=1, keepdims=True), np.float32)


def nearest(rows: Floats, probes: Floats) -> list[list[str]]:
    """The ids of the `_TOP` people of each probe by brute force in double precision."""
    scores = np.empty((len(probes), len(rows)), np.float32)
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK].astype(np.float64)
        scores[:, start : start + _BLOCK] = probes.astype(np.float64) @ some.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :_TOP]
    return [[id_of(place) for place in row] for row in order]


def recall(found: list[list[str]], true: list[list[str]], top: int) -> float:
    same = sum(len(set(one[:top]) & set(other[:top])) for one, other in zip(found, true, strict=True))
    return same / (top * len(true))


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def timed(search: Callable[[Floats], Any], probes: Floats, batch: int, rounds: int, server: Server) -> str:
    """Milliseconds of a search with ``batch`` probes at once: of the clock, and of the processor."""
    taken, busy = [], []
    for number in range(rounds):
        start = number * batch % (len(probes) - batch + 1)
        clock, before = time.perf_counter(), server.busy()
        search(probes[start : start + batch])
        taken.append(1000 * (time.perf_counter() - clock))
        busy.append(1000 * (server.busy() - before))
    median, late = np.percentile(taken, [50, 95])
    processor = server.busy_word(float(np.median(busy)))
    return f"{batch} at once: median {median:.1f}, p95 {late:.1f} ms{processor}"


def measured(server: Server, rows: Floats, rounds: int) -> Iterator[str]:
    probes = probes_of(rows)
    true = nearest(rows, probes)
    exact = SearchIndex(InMemory(rows), "max")
    exact.refresh()
    yield "  exact: " + "; ".join(
        timed(lambda some: exact.search(some, _TOP), probes, batch, rounds, server) for batch in BATCHES
    )
    index = milvus_index(server.uri, CONTRACT.space, rows.shape[1], f"measured {len(rows)}")
    stamp = IndexStamp(CONTRACT.space, "measured", len(rows))
    try:
        yield from of_index(server, index, rows, probes, true, stamp, rounds)
    finally:
        index.drop()
        index.close()


def of_index(
    server: Server,
    index: MilvusIndex,
    rows: Floats,
    probes: Floats,
    true: list[list[str]],
    stamp: IndexStamp,
    rounds: int,
) -> Iterator[str]:
    before = resident(server.pid) if server.pid else 0
    started, busy = time.perf_counter(), server.busy()
    index.build(blocks(rows), stamp)
    server.settled()
    built, busy = time.perf_counter() - started, server.busy() - busy
    assert index.stamp() == stamp
    more = f", {(resident(server.pid) - before) / 1e6:,.0f} MB more in memory" if server.pid else ""
    yield f"  built in {built:.1f} s{server.busy_word(busy)}{more}"
    found = index.candidates(probes, _TOP)
    yield f"  recall@1 {recall(found, true, 1):.4f}, recall@{_TOP} {recall(found, true, _TOP):.4f}"
    yield "  Milvus: " + "; ".join(
        timed(lambda some: index.candidates(some, _TOP), probes, batch, rounds, server) for batch in BATCHES
    )
    taken, busy = [], server.busy()
    for place in range(_REMOVED):
        clock = time.perf_counter()
        index.remove([id_of(place)], stamp)
        taken.append(1000 * (time.perf_counter() - clock))
    median, late = np.percentile(taken, [50, 95])
    each = server.busy_word(1000 * (server.busy() - busy) / _REMOVED, 0)
    yield f"  remove one: median {median:.0f}, p95 {late:.0f} ms{each}"
    yield "  afterwards: " + timed(lambda some: index.candidates(some, _TOP), probes, 1, rounds, server)


@click.command()
@click.option("--people", "sizes", type=click.IntRange(1000), multiple=True, default=(10_000, 100_000))
@click.option("--rounds", default=30, show_default=True)
@click.option(
    "--values", type=click.Choice(list(FALLS)), default=256, help="Of a template.", show_default=True
)
@click.option("--at", help="The URL of a server; Milvus Lite in this process where none is given.")
@click.option("--server-pid", type=int, help="The server's process, if it is one on this machine.")
def main(sizes: tuple[int, ...], rounds: int, values: int, at: str | None, server_pid: int | None) -> None:
    """Measure an index in Milvus among synthetic people."""
    with ExitStack() as stack:
        server = Server(at, lambda: None, server_pid) if at else lite(stack)
        for size in sizes:
            click.echo(f"{size:,} people")
            for line in measured(server, drawn(size, values=values), rounds):
                click.echo(line)


if __name__ == "__main__":
    raise SystemExit(run(main))
