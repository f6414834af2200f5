"""Measure the cost of the service beside the bare pipeline, under load on loopback, for a given time.

    python tools/load_service.py PHOTOS --seconds 20 --clients 4

Starts ``facekd serve`` with an empty gallery, and lets clients send it pairs of photos (`/v1/verify`), each
as soon as it has the answer to the previous one. Before and after, the same pairs go through
`Recognizer.verify` in this process, one after the other. Everything runs on the processors that this process
may use: start it with ``taskset`` for one of them. Processor time is stated beside the rate, since
the clients use some of it here, which they would not on other machines.
"""

from __future__ import annotations

import os

# before numpy is loaded, here and in the service
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import itertools
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import httpx2
import numpy as np

from facekd.cli import run
from facekd.errors import CannotSay, InputOutput
from facekd.preprocess import open_source
from facekd.weights import shipped_model
from facekd.workflows import Recognizer

#: photos that take turns, and seconds for the service to come up
_PHOTOS, _START = 40, 60
_TICKS = os.sysconf("SC_CLK_TCK")
Photos = list[bytes]


def usable_photos(place: Path, recognizer: Recognizer, count: int = _PHOTOS) -> Photos:
    """The first ``count`` photos of a folder or pack that are recognised."""
    source, found = open_source(place), list[bytes]()
    for name in source.names():
        content = source.read(name)
        with suppress(CannotSay, InputOutput):
            recognizer.recognise(content, name)
            found.append(content)
        if len(found) == count:
            return found
    raise click.UsageError(f"{place}: {len(found)} usable photos, {count} are needed")


def bare(recognizer: Recognizer, photos: Photos, seconds: float) -> dict[str, float]:
    """Comparisons per second without the service, and the time of each, on the processor and in total."""
    pairs, each = itertools.cycle(itertools.pairwise(photos)), list[float]()
    began, busy = time.perf_counter(), time.process_time()
    while (start := time.perf_counter()) - began < seconds:
        recognizer.verify(*next(pairs))
        each.append(time.perf_counter() - start)
    rate = len(each) / (time.perf_counter() - began)
    return {
        "per_second": rate,
        "processor_ms": (time.process_time() - busy) * 1000 / len(each),
    } | percentiles(each)


def percentiles(seconds: list[float]) -> dict[str, float]:
    found = np.percentile(seconds, (50, 95, 99)) * 1000
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), map(float, found), strict=True))


@contextmanager
def running(
    model: Path, folder: Path, workers: int, queue: int, *options: object
) -> Iterator[tuple[int, int]]:
    """A service: its process and port. Its log is the file ``log`` in ``folder``."""
    command = [sys.executable, "-m", "facekd", "serve", "--port", "0", "--model", model,
               "--gallery", folder / "load.db", "--workers", workers, "--queue", queue, *options]  # fmt: skip
    log = folder / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen([str(part) for part in command], stderr=errors)
    try:
        yield process.pid, _port(process, log)
    finally:
        process.terminate()
        process.wait(_START)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    for _ in range(_START * 10):
        found = re.search(r"listening on http://[^ ]+:(\d+)", log.read_text())
        if found:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise click.ClickException(log.read_text())


def resident(process: int) -> int:
    """Bytes of memory that a process holds."""
    return _of_status(process, "VmRSS")


def peak(process: int) -> int:
    """Peak memory of a process in bytes."""
    return _of_status(process, "VmHWM")


def _of_status(process: int, what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Load:
    """Clients that send a request as soon as the previous one is answered."""

    def __init__(self, port: int, photos: Photos) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._photos = photos
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()

    def run(self, clients: int, seconds: float) -> None:
        end = time.perf_counter() + seconds
        threads = [threading.Thread(target=self._ask, args=(number, end)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, number: int, end: float) -> None:
        pairs = itertools.cycle(itertools.pairwise(self._photos[number:] + self._photos[:number]))
        with httpx2.Client(base_url=self._address, timeout=60) as client:
            while (began := time.perf_counter()) < end:
                photo, other = next(pairs)
                answer = client.post("/v1/verify", files={"photo": photo, "other": other})
                self.seconds.append(time.perf_counter() - began)
                self.statuses[answer.status_code] += 1


def under_load(process: int, port: int, photos: Photos, clients: int, seconds: float) -> dict[str, object]:
    Load(port, photos).run(clients, min(3.0, seconds))  # everything is loaded once
    load, memory, busy = Load(port, photos), resident(process), processor_seconds(process)
    began = time.perf_counter()
    load.run(clients, seconds)
    taken, done = time.perf_counter() - began, len(load.seconds)
    return {
        "clients": clients,
        "requests": done,
        "per_second": done / taken,
        "processor_ms": (processor_seconds(process) - busy) * 1000 / done,
        "statuses": dict(load.statuses),
        "memory_before": memory,
        "memory_after": resident(process),
        "memory_most": peak(process),
    } | percentiles(load.seconds)


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--model",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    help="Its card must have a threshold.",
)
@click.option("--seconds", type=click.FloatRange(1, 600), default=20.0, show_default=True)
@click.option("--clients", type=click.IntRange(1, 256), multiple=True, default=(1, 4), show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--queue", type=click.IntRange(0, 1000), default=16, show_default=True)
def main(
    photos: Path, model: Path | None, seconds: float, clients: tuple[int, ...], workers: int, queue: int
) -> None:
    """Measure the service with the photos in PHOTOS, a folder or pack, and print the result as JSON."""
    model = model or shipped_model()
    if model is None:
        raise click.UsageError("no model is named, and no student came with this facekd")
    recognizer = Recognizer(model)
    given = usable_photos(photos, recognizer)
    found: dict[str, object] = {"processors": len(os.sched_getaffinity(0)), "workers": workers}
    found["bare_before"] = bare(recognizer, given, min(10.0, seconds))
    with (
        tempfile.TemporaryDirectory() as folder,
        running(model, Path(folder), workers, queue) as (process, port),
    ):
        found["memory_at_start"] = resident(process)
        found["service"] = [under_load(process, port, given, count, seconds) for count in clients]
    found["bare_after"] = bare(recognizer, given, min(10.0, seconds))
    click.echo(json.dumps(found, indent=2))


if __name__ == "__main__":
    raise SystemExit(run(main))
