"""Measure the cost of a gallery in PostgreSQL compared with a file: reading everybody, removing one person.

python tools/measure_postgres.py scratch.db postgresql:///scratch --people 1000 5000 --data FOLDER

There must be no gallery at these places; those that are made are deleted again. People are made up, each with
one template of 512 values. With --data, the server's data folder, which must be readable, the tool also
counts for how many of 50 people a piece of the template is still in the files of the tables: after DELETE,
after VACUUM, and after facekd's own erasure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

from facekd.gallery import (
    Contract,
    GalleryRecords,
    Place,
    SearchIndex,
    ServerAddress,
    Template,
    gallery_place,
    is_there,
)

DIM = 512
CONTRACT = Contract("c" * 64, DIM, "made up", "none", "none")
#: people who are added in one transaction
BLOCK = 500
REMOVED = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("places", type=gallery_place, nargs="+")
    parser.add_argument("--people", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    if any(is_there(place) for place in given.places):
        parser.error("there is a gallery already")
    print("| | people | size | add, each | open and list | read everybody | remove one |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for people in given.people:
        for place in given.places:
            try:
                print(measured(place, people), flush=True)
            finally:
                clear(place)
    servers = [place for place in given.places if isinstance(place, ServerAddress)]
    if given.data and servers:
        try:
            print(erased(str(servers[0]), given.data))
        finally:
            clear(servers[0])


def measured(place: Place, people: int) -> str:
    added = fill(place, people)[1]
    listed = seconds(lambda: listing(place))
    with GalleryRecords(place, read_only=True) as records:
        size = records.statistics().bytes
        read = seconds(lambda: SearchIndex(records).refresh())
    removed = []
    for number in range(3):
        with GalleryRecords(place) as records:
            removed.append(seconds(partial(remove, records, number)))
            assert not records.pending
    kind = "file" if isinstance(place, Path) else "PostgreSQL"
    return (
        f"| {kind} | {people:,} | {size / 1e6:,.0f} MB | {1000 * added / people:.1f} ms "
        f"| {1000 * listed:.0f} ms | {read:.2f} s | {sorted(removed)[1]:.2f} s |"
    )


def erased(url: str, data: Path) -> str:
    """The number of removed people of whose template a piece is left in the tables' files."""
    rows, _ = fill(url, 1000)
    gone = np.random.default_rng(0).choice(1000, REMOVED, replace=False)
    pieces = [rows[number].tobytes()[16:80] for number in gone]
    told = []
    with GalleryRecords(url) as records, closing(psycopg.connect(url, autocommit=True)) as db:
        names = [name(number) for number in gone]
        db.execute("DELETE FROM facekd.people WHERE name = ANY (%s)", (names,))
        told.append(("DELETE", left(db, data, pieces)))
        db.execute("VACUUM facekd.templates, facekd.people")
        told.append(("VACUUM", left(db, data, pieces)))
        db.execute("INSERT INTO facekd.erasures DEFAULT VALUES")
        records.erase()
        told.append(("facekd gallery erase", left(db, data, pieces)))
    return f"\nof {REMOVED} templates left in the tables' files: " + ", ".join(
        f"{count} after {what}" for what, count in told
    )


def left(db: psycopg.Connection, data: Path, pieces: Sequence[bytes]) -> int:
    db.execute("CHECKPOINT")
    files = b"".join(path.read_bytes() for path in (data / "base").rglob("*") if path.is_file())
    return sum(piece in files for piece in pieces)


def fill(place: Place | str, people: int) -> tuple[NDArray[np.float32], float]:
    rows = np.random.default_rng(1).normal(size=(people, DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    start = time.perf_counter()
    with GalleryRecords(place, CONTRACT, create=True) as records:
        for first in range(0, people, BLOCK):
            with records.transaction():
                for number in range(first, min(people, first + BLOCK)):
                    records.add(name(number), [Template(rows[number], f"{number:064x}", 0.5)])
    return rows, time.perf_counter() - start


def name(number: int) -> str:
    return f"person {number}"


def remove(records: GalleryRecords, number: int) -> None:
    with records.transaction():
        records.remove(name(number))


def listing(place: Place) -> None:
    with GalleryRecords(place, read_only=True) as records:
        records.people()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def clear(place: Place) -> None:
    if isinstance(place, Path):
        for ending in ("", "-wal", "-shm"):
            Path(f"{place}{ending}").unlink(missing_ok=True)
        return
    with closing(psycopg.connect(str(place), autocommit=True)) as db:
        db.execute("DROP SCHEMA IF EXISTS facekd CASCADE")


if __name__ == "__main__":
    main()
