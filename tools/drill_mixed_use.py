"""Use one gallery for an hour at a bounded rate, and check that neither memory nor the file grows.

    python tools/drill_mixed_use.py PHOTOS --minutes 60 --a-second 2 --people 200

PHOTOS holds a folder of photos for each person. One process, with the shipped model, enrolls, claims,
searches, removes, renames and backs up as a seeded generator chooses, so that about --people are enrolled. A
list of who must be enrolled with which photos is kept separately; every minute, and at the end, the gallery
is compared with it. Prints a line a minute; exits with 1 if the gallery and the list differ, memory grew by
more than a tenth over the second half, or the file is more than twice as large as a newly written one.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import click

from facekd import Gallery
from facekd.cli import run
from facekd.cli.options import EXISTING
from facekd.errors import FacekdError
from facekd.gallery import GalleryCheck, GalleryRecords, back_up
from facekd.preprocess import open_source

#: how often each operation is chosen, in per cent
OFTEN = {"enroll": 30, "claim": 25, "identify": 25, "remove": 14, "rename": 4, "backup": 2}
#: the largest accepted growth of memory over the second half, and of the file compared with a new one
MEMORY, FILE = 1.10, 2.0


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Use:
    """Mixed use of the gallery at ``path``, and what must be in it: digests of photos by name."""

    path: Path
    photos: dict[str, list[bytes]]
    people: int
    chance: random.Random
    gallery: Gallery = field(init=False)
    expected: dict[str, set[str]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.gallery = Gallery(self.path)

    def step(self) -> None:
        """Do one operation; refusals (no face, not this person) are counted."""
        kinds, weights = list(OFTEN), list(OFTEN.values())
        if len(self.expected) > self.people:
            weights[kinds.index("remove")] *= 3
        what = self.chance.choices(kinds, weights)[0]
        if what in ("claim", "remove", "rename") and not self.expected:
            what = "enroll"
        try:
            getattr(self, what)()
            self.done[what] += 1
        except FacekdError as error:
            self.done[f"{what}: {error.reason}"] += 1

    def enroll(self) -> None:
        person = self.chance.choice(list(self.photos))
        photos = self.photos[person][:3]
        name = self.sources.get(person, person)
        self.gallery.enroll(name, photos)
        self.sources[person] = name
        stored = self.expected.setdefault(name, set())
        with GalleryRecords(self.path, read_only=True) as records:
            stored |= {photo.photo for photo in records.photos(name)}
        assert stored <= {hashlib.sha256(photo).hexdigest() for photo in photos}, name

    def claim(self) -> None:
        self.gallery.verify(self._photo(), self.chance.choice(list(self.expected)))

    def identify(self) -> None:
        self.gallery.identify(self._photo())

    def remove(self) -> None:
        name = self.chance.choice(list(self.expected))
        self.gallery.remove(name)
        del self.expected[name]
        self.sources = {person: stored for person, stored in self.sources.items() if stored != name}

    def rename(self) -> None:
        name = self.chance.choice(list(self.expected))
        new = f"{name.split(' (')[0]} ({self.chance.randrange(10**6)})"
        with GalleryRecords(self.path) as records, records.transaction():
            records.rename(name, new)
        self.expected[new] = self.expected.pop(name)
        self.sources = {person: new if stored == name else stored for person, stored in self.sources.items()}

    def backup(self) -> None:
        copy = self.path.with_name("copy.db")
        copy.unlink(missing_ok=True)
        back_up(self.path, copy)

    def differences(self) -> list[str]:
        """The differences between the gallery and what must be in it."""
        found = [fault.message for fault in GalleryCheck(self.path).faults()]
        with GalleryRecords(self.path, read_only=True) as records:
            there = {name: {photo.photo for photo in records.photos(name)} for name in records.names()}
        names = self.expected.keys() | there.keys()
        return found + [name for name in sorted(names) if self.expected.get(name) != there.get(name)]

    def _photo(self) -> bytes:
        return self.chance.choice(self.chance.choice(list(self.photos.values())))


def size(path: Path) -> int:
    """Bytes of the gallery and of the files beside it whose names begin with its own."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def written_afresh(path: Path) -> int:
    """Bytes of a compact copy of the gallery."""
    copy = path.with_name("compact.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM INTO ?", (str(copy),))
    return copy.stat().st_size


def read_photos(place: Path, people: int) -> dict[str, list[bytes]]:
    """The photos of the first ``people`` persons by name, up to five of each."""
    source, found = open_source(place), dict[str, list[bytes]]()
    for name in source.names():
        person = name.rpartition("/")[0].rpartition("/")[2]
        if (person in found or len(found) < people) and len(found.setdefault(person, [])) < 5:
            found[person].append(source.read(name))
    return found


@click.command()
@click.argument("photos", type=EXISTING)
@click.option("--minutes", default=60.0, show_default=True)
@click.option("--a-second", default=2.0, show_default=True, help="Operations a second at most.")
@click.option("--people", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(photos: Path, minutes: float, a_second: float, people: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.db"
        use = Use(path, read_photos(photos, 3 * people), people, random.Random(seed))
        began, memory, wrong, operations = time.monotonic(), list[int](), list[str](), 0
        click.echo("minute  operations  people     MiB  file KiB")
        while (passed := time.monotonic() - began) < 60 * minutes:
            use.step()
            operations += 1
            if passed >= 60 * len(memory):
                wrong = use.differences()
                memory.append(resident())
                told = (len(memory) - 1, operations, len(use.expected), memory[-1] / 2**20, size(path) / 1024)
                click.echo("{:6d}  {:10d}  {:6d}  {:6.1f}  {:8.0f}".format(*told))
                if wrong:
                    break
            time.sleep(max(0.0, operations / a_second - (time.monotonic() - began)))
        wrong = wrong or use.differences()
        use.gallery.close()
        half = memory[len(memory) // 2 :]
        grown = statistics.median(half[-3:]) / statistics.median(half[:3])
        larger = size(path) / written_afresh(path)
    click.echo(", ".join(f"{what} {count}" for what, count in sorted(use.done.items())))
    click.echo(
        f"memory over the second half: times {grown:.3f}; file: times {larger:.2f} a newly written one"
    )
    for line in wrong:
        click.echo(f"wrong: {line}")
    return 1 if wrong or grown > MEMORY or larger > FILE else 0


if __name__ == "__main__":
    raise SystemExit(run(main))
