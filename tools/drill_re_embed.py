"""Test a gallery after kill -9 while it is moved to another model.

    python tools/drill_re_embed.py --kills 30
    python tools/drill_re_embed.py --kills 30 --server
    python tools/drill_re_embed.py --kills 30 --server --crash

With --server the gallery is in PostgreSQL, in a server that is started for it as the tests do; with --crash
that server is killed first, and started again, and the program, which may have gone on by then, after it. A
program repeatedly moves a gallery of made-up people from one space to another and back, acknowledges each
move with a line, and is killed after a random time. Then the gallery is checked: an acknowledged move that is
missing is lost; a gallery whose templates are not all of the space of its contract is half done; a fault is
what `facekd gallery check` finds. Then the gallery is opened once for writing, and searched for embeddings of
the other space: traces. Prints a table; exits with 1 unless the last four columns are zero.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from killing import HEADINGS, Found, checked, kill_once
from numpy.typing import NDArray

from facekd.cli import run
from facekd.errors import InputOutput
from facekd.gallery import (
    Contract,
    EmbeddingStore,
    GalleryRecords,
    Place,
    Template,
    back_up,
    copy_gallery,
    gallery_place,
    move_gallery,
)

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

if TYPE_CHECKING:
    from postgres_server import PostgresServer

#: the spaces between which the gallery moves
SPACES = (
    Contract("a" * 64, 256, "first", "none", "none"),
    Contract("b" * 64, 192, "second", "none", "none"),
)
PEOPLE = 400
PHOTOS = 3
#: embeddings that are looked for in the files of a server, which are large
SOUGHT = 20
#: seconds until a server has given up what a killed program had asked for
PATIENCE = 60


def photo(number: int, place: int) -> str:
    return f"{number:032x}{place:032x}"


def embeddings(space: int) -> NDArray[np.float32]:
    """The embeddings of all photos [PEOPLE, PHOTOS, D] in one of the spaces."""
    rows = np.random.default_rng(space).normal(size=(PEOPLE, PHOTOS, SPACES[space].dim))
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def fill(gallery: Path) -> None:
    made = embeddings(0)
    with GalleryRecords(gallery, SPACES[0], create=True) as records, records.transaction():
        for number in range(PEOPLE):
            templates = [Template(made[number, p], photo(number, p), 0.5) for p in range(PHOTOS)]
            records.add(f"person {number:06d}", templates)


def work(gallery: Place, folder: Path) -> None:
    """Move the gallery back and forth until killed; new embeddings are in ``folder``."""
    beside = folder / "embeddings"
    with EmbeddingStore(beside, SPACES[0]) as first, EmbeddingStore(beside, SPACES[1]) as second:
        for space, store in enumerate((first, second)):
            made = embeddings(space)
            for number in range(PEOPLE):
                for place in range(PHOTOS):
                    store.add(photo(number, place), made[number, place], 0.5)
        print("ready", flush=True)
        for step in range(1, 100_000):
            move(gallery, second if step % 2 else first)
            print(step, flush=True)


def move(gallery: Place, store: EmbeddingStore) -> None:
    with GalleryRecords(gallery, read_only=True) as records:
        state = records.state()
    if state is None or move_gallery(gallery, store, state) is None:
        raise click.ClickException("the gallery was not moved")


def look(gallery: Place, said: int, found: Found, server: PostgresServer | None = None) -> None:
    with GalleryRecords(gallery, read_only=True) as records:
        space = next(place for place, one in enumerate(SPACES) if one == records.contract)
        moves = sum(entry.action == "re_embed" for entry in records.audit_entries())
        people = [records.templates(person.name) for person in records.people()]
    made = embeddings(space)
    whole = len(people) == PEOPLE and all(
        template.photo == photo(number, place) and np.array_equal(template.embedding, made[number, place])
        for number, templates in enumerate(people)
        for place, template in enumerate(templates)
    )
    found.half += not whole or moves % 2 != space
    found.lost += max(0, said - moves)
    found.said += said
    faults, left = checked(gallery)
    found.faults += faults
    GalleryRecords(gallery).close()  # completes an interrupted erasure
    gone = embeddings(1 - space).reshape(PEOPLE * PHOTOS, -1)
    if server is not None:
        found.traces += traces_on(server, gone[:: len(gone) // SOUGHT], left)
        return
    files = [Path(f"{gallery}{ending}") for ending in ("", "-wal")]
    content = b"".join(file.read_bytes() for file in files if file.exists())
    found.traces += sum(row.tobytes() in content for row in gone)


def traces_on(server: PostgresServer, rows: Iterable[NDArray[np.float32]], left: Collection[str] = ()) -> int:
    """How many files of the server, other than those ``left`` by a kill of it, hold one of ``rows``, once its
    write-ahead log has turned over."""
    for query in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
        server.ask(query, "postgres")
    return len(server.files_with(*(row.tobytes()[:64] for row in rows), but=left))


def settle(server: PostgresServer, url: str) -> None:
    """Wait until the server has noticed that the program was killed."""
    until = time.monotonic() + PATIENCE
    others = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid != pg_backend_pid() AND state != 'idle'"
    )
    while server.ask(others, url) != [(0,)]:
        if time.monotonic() > until:
            raise click.ClickException("the server still works for the program that was killed")
        time.sleep(0.05)


def drill(
    kills: int, seed: int, longest: float = 1.0, server: PostgresServer | None = None, crash: bool = False
) -> Found:
    """``crash`` kills the server as well, before the program."""
    first = server.crash if server is not None and crash else None
    found, moments = Found(), random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        base, folder = Path(scratch) / "base.db", Path(scratch)
        fill(base)
        for _ in range(kills):
            gallery: Place = folder / "gallery.db"
            if server is None:
                back_up(base, folder / "gallery.db", replace=True)
            else:
                gallery = gallery_place(server.new_database())
                copy_gallery(base, gallery)
            seconds = moments.uniform(0, longest)
            said = kill_once(__file__, gallery, "--folder", folder, seconds=seconds, first=first)
            found.kills += 1
            if server is not None:
                settle(server, str(gallery))
            look(gallery, said, found, server)
            if server is not None:
                server.empty_databases()
    return found


@click.command()
@click.option("--kills", type=click.IntRange(1), default=30, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--longest", default=1.0, show_default=True, help="Seconds until a kill, at most.")
@click.option("--server", "by_server", is_flag=True, help="A gallery in PostgreSQL.")
@click.option("--crash", is_flag=True, help="Kill the server as well, before the program.")
@click.option("--work", "worked", default=None, hidden=True)
@click.option("--folder", type=Path, default=None, hidden=True)
def main(
    kills: int,
    seed: int,
    longest: float,
    by_server: bool,
    crash: bool,
    worked: str | None,
    folder: Path | None,
) -> int:
    if worked is not None and folder is not None:
        try:
            work(gallery_place(worked), folder)
        except InputOutput as error:
            return error.exit_code  # the server was killed
    if crash and not by_server:
        raise click.UsageError("--crash needs --server")
    if by_server:
        from postgres_server import PostgresServer

        with closing(PostgresServer()) as server:
            found = drill(kills, seed, longest, server, crash)
    else:
        found = drill(kills, seed, longest)
    click.echo(f"| change | {HEADINGS} |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    click.echo(f"| re-embed | {found} |")
    return 1 if found.is_bad else 0


if __name__ == "__main__":
    raise SystemExit(run(main))
