"""Test a gallery after kill -9 in the middle of encrypting it, changing its key or decrypting it.

    python tools/drill_encryption.py --kills 30

A program repeatedly encrypts a gallery of made-up people, changes its key and decrypts it, acknowledges each
change with a line, and is killed after a random time, --kills times. Then the gallery is checked: an
acknowledged change that is missing is lost; a template that cannot be read, or is not what was enrolled, is
half done; a fault is what `facekd gallery check` finds. Then the gallery is opened once for writing and, if
it is encrypted, searched for unencrypted templates and names: traces. Prints a table; exits with 1 unless the
last four columns are zero.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import click
import numpy as np
from killing import HEADINGS, Found, kill_once
from numpy.typing import NDArray

from facekd.cli import run
from facekd.errors import NoKey, UsageError, WrongKey
from facekd.gallery import (
    NO_KEY,
    Contract,
    GalleryCheck,
    GalleryRecords,
    KeySource,
    Template,
    as_key,
    back_up,
)
from facekd.workflows import decrypt_gallery, encrypt_gallery, rotate_key

DIM = 256
CONTRACT = Contract("a" * 64, DIM, "made-up", "none", "none")
PEOPLE = 500
KEYS = (bytes(range(32)), bytes(range(32, 64)))
#: in the clear, with the first key, with the second: the changes go through these in turn
STATES = 3


def embedding(number: int) -> NDArray[np.float32]:
    row = np.random.default_rng(number).normal(size=DIM)
    return (row / np.linalg.norm(row)).astype(np.float32)


def name(number: int) -> str:
    return f"person {number:06d}"


def key_of(state: int) -> KeySource:
    """The key of the gallery in this state."""
    return (NO_KEY, as_key(KEYS[0]), as_key(KEYS[1]))[state % STATES]


def fill(gallery: Path) -> None:
    with GalleryRecords(gallery, CONTRACT, create=True, key=NO_KEY) as records, records.transaction():
        for number in range(PEOPLE):
            records.add(name(number), [Template(embedding(number), f"{number:064x}", 0.5)])


def change(gallery: Path, step: int) -> None:
    """Change the gallery from state ``step`` to the next."""
    before, after = key_of(step), key_of(step + 1)
    if before is NO_KEY:
        encrypt_gallery(gallery, after, names=True)
    elif after is NO_KEY:
        decrypt_gallery(gallery, before)
    else:
        rotate_key(gallery, after, before)


def work(gallery: Path) -> None:
    """Change the gallery until killed."""
    print("ready", flush=True)
    for step in range(1_000_000):
        change(gallery, step)
        print(step, flush=True)


def state_of(gallery: Path) -> int | None:
    """The state of the gallery; `None` if it is in none of them."""
    for state in range(STATES):
        try:
            GalleryRecords(gallery, read_only=True, key=key_of(state)).close()
        except (NoKey, WrongKey, UsageError):
            continue
        return state
    return None


def look(gallery: Path, said: int, found: Found) -> None:
    found.said += said
    state = state_of(gallery)
    # a change may have been made, but not acknowledged before the kill
    if state not in (said % STATES, (said + 1) % STATES):
        found.lost += 1
    if state is None:
        return
    found.faults += sum(1 for _ in GalleryCheck(gallery, key_of(state)).faults())
    with GalleryRecords(gallery, read_only=True, key=key_of(state)) as records:
        everybody = records.everybody()
    expected = np.stack([embedding(number) for number in range(PEOPLE)])
    if everybody.embeddings.shape != expected.shape:
        found.half += 1
    else:
        found.half += int((everybody.embeddings != expected).any(axis=1).sum())
    GalleryRecords(gallery, key=key_of(state)).close()  # completes an interrupted erasure
    if state:
        content = b"".join(file.read_bytes() for file in gallery.parent.glob(f"{gallery.name}*"))
        found.traces += sum(row.tobytes()[:32] in content for row in expected)
        found.traces += sum(name(number).encode() in content for number in range(PEOPLE))


def drill(kills: int, seed: int) -> Found:
    found, moments = Found(), random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        base, gallery = Path(scratch) / "base.db", Path(scratch) / "gallery.db"
        fill(base)
        for _ in range(kills):
            back_up(base, gallery, replace=True)
            said = kill_once(__file__, gallery, seconds=moments.uniform(0, 3))
            found.kills += 1
            look(gallery, said, found)
    return found


@click.command()
@click.option("--kills", type=click.IntRange(1), default=30, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--work", "worked", type=Path, default=None, hidden=True)
def main(kills: int, seed: int, worked: Path | None) -> int:
    if worked is not None:
        work(worked)
        return 0
    click.echo(f"| {HEADINGS} |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    found = drill(kills, seed)
    click.echo(f"| {found} |")
    return 1 if found.is_bad else 0


if __name__ == "__main__":
    raise SystemExit(run(main))
