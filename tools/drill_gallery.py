"""Test a gallery after kill -9 in the middle of removals, merges, renamings and imports.

    python tools/drill_gallery.py --kills 30

A program changes a gallery of made-up people repeatedly, acknowledges each change with a line, and is killed
after a random time, --kills times for each kind of change. Then the gallery is checked: an acknowledged
change that is missing is lost; a person whose state is neither that before the change nor that after it is
half done; a fault is what `facekd gallery check` finds. Then the gallery is opened once for writing, and
searched for the bytes of names and embeddings that were removed from it: traces. Prints a table; exits with 1
unless the last four columns are zero.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from killing import HEADINGS, Found, kill_once
from numpy.typing import NDArray

from facekd.cli import run
from facekd.gallery import Contract, GalleryCheck, GalleryRecords, Template, back_up
from facekd.workflows import export_gallery, import_archive

DIM = 256
CONTRACT = Contract("a" * 64, DIM, "made-up", "none", "none")
PHOTOS = 3
#: people of one archive
GROUP = 20
#: photos of each person by name
People = dict[str, set[str]]


def photo(number: int, place: int) -> str:
    return f"{number:032x}{place:032x}"


def embedding(number: int, place: int) -> NDArray[np.float32]:
    row = np.random.default_rng((number, place)).normal(size=DIM)
    return (row / np.linalg.norm(row)).astype(np.float32)


def name(number: int) -> str:
    return f"person {number:06d}"


def photos(*numbers: int) -> set[str]:
    return {photo(number, place) for number in numbers for place in range(PHOTOS)}


def fill(gallery: Path, numbers: range) -> None:
    with GalleryRecords(gallery, CONTRACT, create=True) as records, records.transaction():
        for number in numbers:
            templates = [Template(embedding(number, p), photo(number, p), 0.5) for p in range(PHOTOS)]
            records.add(name(number), templates)


def remove(records: GalleryRecords, folder: Path, step: int) -> None:
    with records.transaction():
        records.remove(name(step))


def remove_photo(records: GalleryRecords, folder: Path, step: int) -> None:
    with records.transaction():
        records.remove_photo(name(step), records.photos(name(step))[1].id)


def rename(records: GalleryRecords, folder: Path, step: int) -> None:
    with records.transaction():
        records.rename(name(step), f"renamed {step:06d}")


def merge(records: GalleryRecords, folder: Path, step: int) -> None:
    with records.transaction():
        records.merge(name(2 * step), name(2 * step + 1))


def take_in(records: GalleryRecords, folder: Path, step: int) -> None:
    import_archive(folder / f"{step}.jsonl", records.path)


@dataclass(frozen=True)
class Change:
    """A kind of change: ``run`` makes the ``steps``-th; before and after it the people concerned must be as
    in ``before`` and ``after``, and the ``gone`` bytes must have left the file."""

    run: Callable[[GalleryRecords, Path, int], None]
    steps: int
    before: Callable[[int], People]
    after: Callable[[int], People]
    gone: Callable[[int], list[bytes]] = field(default=lambda step: [])


def _group(step: int) -> People:
    return {name(n): photos(n) for n in range(step * GROUP, (step + 1) * GROUP)}


def _bytes(*what: tuple[int, int]) -> list[bytes]:
    return [embedding(number, place).tobytes() for number, place in what]


CHANGES = {
    "remove": Change(
        remove, 300, lambda s: {name(s): photos(s)}, lambda s: {},
        lambda s: [name(s).encode(), *_bytes(*((s, place) for place in range(PHOTOS)))],
    ),
    "remove --photo": Change(
        remove_photo, 300, lambda s: {name(s): photos(s)}, lambda s: {name(s): photos(s) - {photo(s, 1)}},
        lambda s: [photo(s, 1).encode(), *_bytes((s, 1))],
    ),
    "rename": Change(
        rename, 300, lambda s: {name(s): photos(s)}, lambda s: {f"renamed {s:06d}": photos(s)},
        lambda s: [name(s).encode()],
    ),
    "merge": Change(
        merge, 150, lambda s: {name(2 * s): photos(2 * s), name(2 * s + 1): photos(2 * s + 1)},
        lambda s: {name(2 * s): photos(2 * s, 2 * s + 1)},
        lambda s: [name(2 * s + 1).encode()],
    ),
    "import": Change(take_in, 24, lambda s: {}, _group),
}  # fmt: skip


def work(kind: str, folder: Path) -> None:
    """Change the gallery in ``folder`` until killed."""
    change = CHANGES[kind]
    gallery = folder / "gallery.db"
    with GalleryRecords(gallery) as records:
        print("ready", flush=True)
        for step in range(change.steps):
            change.run(records, folder, step)
            print(step, flush=True)


def look(change: Change, gallery: Path, said: int, found: Found) -> None:
    with GalleryRecords(gallery, read_only=True) as records:
        there = {p.name: {photo.photo for photo in records.photos(p.name)} for p in records.people()}
    done = 0
    for step in range(change.steps):
        before, after = change.before(step), change.after(step)
        concerned = {one: there[one] for one in before.keys() | after.keys() if one in there}
        if concerned == after:
            done += 1
        elif concerned != before:
            found.half += 1
        elif step < said:
            found.lost += 1
    found.said += said
    found.faults += sum(1 for _ in GalleryCheck(gallery).faults())
    GalleryRecords(gallery).close()  # opening it completes an interrupted erasure
    files = [gallery, gallery.with_name(gallery.name + "-wal")]
    content = b"".join(file.read_bytes() for file in files if file.exists())
    found.traces += sum(trace in content for step in range(done) for trace in change.gone(step))


def drill(kind: str, kills: int, seed: int) -> Found:
    change, found = CHANGES[kind], Found()
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base.db"
        prepare(kind, Path(scratch), base)
        longest = 1.0
        for _ in range(kills):
            gallery = Path(scratch) / "gallery.db"
            back_up(base, gallery, replace=True)
            said = kill_once(__file__, kind, scratch, seconds=moments.uniform(0, longest))
            found.kills += 1
            look(change, gallery, said, found)
    return found


def prepare(kind: str, folder: Path, base: Path) -> None:
    """The gallery that changes start from, and archives for imports."""
    if kind != "import":
        fill(base, range(300))
        return
    GalleryRecords(base, CONTRACT, create=True).close()
    for step in range(CHANGES[kind].steps):
        fill(folder / f"{step}.db", range(step * GROUP, (step + 1) * GROUP))
        export_gallery(folder / f"{step}.db", folder / f"{step}.jsonl")


@click.command()
@click.option("--kills", type=click.IntRange(1), default=30, show_default=True)
@click.option("--kind", "kinds", type=click.Choice(list(CHANGES)), multiple=True, help="Only these changes.")
@click.option("--seed", default=0, show_default=True)
@click.option("--work", "worked", type=(click.Choice(list(CHANGES)), Path), default=None, hidden=True)
def main(kills: int, kinds: tuple[str, ...], seed: int, worked: tuple[str, Path] | None) -> int:
    if worked is not None:
        work(*worked)
        return 0
    click.echo(f"| change | {HEADINGS} |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    is_bad = False
    for kind in kinds or CHANGES:
        found = drill(kind, kills, seed)
        click.echo(f"| {kind} | {found} |")
        is_bad = is_bad or found.is_bad
    return 1 if is_bad else 0


if __name__ == "__main__":
    raise SystemExit(run(main))
