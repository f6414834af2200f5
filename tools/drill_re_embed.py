"""Test a gallery after kill -9 while it is moved to another model.

    python tools/drill_re_embed.py --kills 30

A program repeatedly moves a gallery of made-up people from one space to another and back, acknowledges each
move with a line, and is killed after a random time. Then the gallery is checked: an acknowledged move that is
missing is lost; a gallery whose templates are not all of the space of its contract is half done; a fault is
what `facekd gallery check` finds. Then the gallery is opened once for writing, and searched for embeddings of
the other space: traces. Prints a table; exits with 1 unless the last four columns are zero.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from killing import HEADINGS, Found, kill_once
from numpy.typing import NDArray

from facekd.gallery import (
    Contract,
    EmbeddingStore,
    GalleryCheck,
    GalleryRecords,
    Template,
    back_up,
    move_gallery,
)

#: the spaces between which the gallery moves
SPACES = (
    Contract("a" * 64, 256, "first", "none", "none"),
    Contract("b" * 64, 192, "second", "none", "none"),
)
PEOPLE = 400
PHOTOS = 3


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


def work(gallery: Path) -> None:
    """Move the gallery back and forth until killed."""
    with EmbeddingStore(gallery, SPACES[0]) as first, EmbeddingStore(gallery, SPACES[1]) as second:
        for space, store in enumerate((first, second)):
            made = embeddings(space)
            for number in range(PEOPLE):
                for place in range(PHOTOS):
                    store.add(photo(number, place), made[number, place], 0.5)
        print("ready", flush=True)
        for step in range(1, 100_000):
            move(gallery, second if step % 2 else first)
            print(step, flush=True)


def move(gallery: Path, store: EmbeddingStore) -> None:
    with GalleryRecords(gallery, read_only=True) as records:
        state = records.state()
    if state is None or move_gallery(gallery, store, state) is None:
        raise click.ClickException("the gallery was not moved")


def look(gallery: Path, said: int, found: Found) -> None:
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
    found.faults += sum(1 for _ in GalleryCheck(gallery).faults())
    GalleryRecords(gallery).close()  # completes an interrupted erasure
    files = [gallery, gallery.with_name(gallery.name + "-wal")]
    content = b"".join(file.read_bytes() for file in files if file.exists())
    gone = embeddings(1 - space).reshape(PEOPLE * PHOTOS, -1)
    found.traces += sum(row.tobytes() in content for row in gone)


def drill(kills: int, seed: int, longest: float = 1.0) -> Found:
    found, moments = Found(), random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        base, gallery = Path(scratch) / "base.db", Path(scratch) / "gallery.db"
        fill(base)
        for _ in range(kills):
            back_up(base, gallery, replace=True)
            said = kill_once(__file__, gallery, seconds=moments.uniform(0, longest))
            found.kills += 1
            look(gallery, said, found)
    return found


@click.command()
@click.option("--kills", type=click.IntRange(1), default=30, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--work", "worked", type=Path, default=None, hidden=True)
def main(kills: int, seed: int, worked: Path | None) -> None:
    if worked is not None:
        work(worked)
        return
    found = drill(kills, seed)
    click.echo(f"| change | {HEADINGS} |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    click.echo(f"| re-embed | {found} |")
    sys.exit(1 if found.is_bad else 0)


if __name__ == "__main__":
    main()
