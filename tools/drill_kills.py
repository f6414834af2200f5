"""Kill -9 the clients, the service and the database server while they enroll, remove, merge and copy.

    python tools/drill_kills.py --photos FOLDER --enrollments 1000 --writers 8

Starts a PostgreSQL server of its own in a temporary folder, a service over it with two workers, and writers
(`kill_writers.py`), each a process: most change the gallery from Python with made-up templates, every fourth
uses the service, with photos of FOLDER, a folder or pack. At random moments one of the writers, the service,
the server or one of its processes is killed and started again. The writers enroll, then remove some of their
people, then merge others. After that copies of the gallery between databases and files are killed, or their
server is, and made again.

After each, the gallery is compared with what was acknowledged. "Interrupted" are changes that failed or whose
writer was killed: the next writer checked whether they had been made, and made them if not. "Lost" are
acknowledged changes that are missing, "half done" people whose state was neither that before a change nor
that after it, and "faults" those that `facekd gallery check` finds, apart from files that a killed server
left behind. "Seen" are removed people whom a search of the records or of the service still finds, "traces"
removed templates of which a piece is in a file of the databases that `check` does not report. Prints a table;
exits with 1 unless the last five columns are zero.
"""

from __future__ import annotations

import os

# before numpy is loaded, here and in the processes
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import contextlib
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx2
import numpy as np
from kill_plan import People, Plan, plan_of, some_photos
from kill_site import PATIENCE, ROOT, Site, until
from kill_writers import PHOTOS, name, photo, said
from killing import checked

from facekd.cli import run
from facekd.errors import FacekdError
from facekd.gallery import GalleryRecords, SearchIndex, copy_gallery, gallery_place, is_there
from facekd.weights import shipped_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from postgres_server import PostgresServer, why_not

SAMPLES = ROOT / "data" / "samples"
HEADINGS = (
    "client | service | server | interrupted | acknowledged | lost | half done | faults | seen | traces"
)
#: scores from here on are of a template with itself
_SAME = 0.9999
#: how many removed templates are looked for in the files
_TRACED = 50

#: ways to search the records; none of them may find a removed person
INDEXES: dict[str, Callable[[GalleryRecords], SearchIndex]] = {
    "exact": SearchIndex.of,
    "exact, by each template": lambda records: SearchIndex.of(records, rule="max"),
}


@dataclass
class Found:
    """The result of ``kills``, which are counted by kind."""

    kills: Counter[str] = field(default_factory=Counter)
    interrupted: int = 0
    said: int = 0
    lost: int = 0
    half: int = 0
    faults: int = 0
    seen: int = 0
    traces: int = 0

    @property
    def is_bad(self) -> bool:
        return bool(self.lost + self.half + self.faults + self.seen + self.traces)

    def __str__(self) -> str:
        servers = self.kills["server"] + self.kills["backend"]
        counts = (self.kills["client"], self.kills["service"], servers, self.interrupted, self.said)
        return " | ".join(map(str, (*counts, self.lost, self.half, self.faults, self.seen, self.traces)))


class Drill:
    """The kills of one run, at moments that ``seed`` chooses."""

    def __init__(self, site: Site, plan: Plan, seed: int) -> None:
        self.site, self.plan, self._chance = site, plan, random.Random(seed)
        #: the kinds of changes that have been made, in turn
        self.done: list[str] = []

    def changes(self, kinds: str, kills: int) -> Found:
        """Let the writers make their changes of these kinds, with so many ``kills`` in the meantime."""
        found, before = Found(), {what: self._said(what) for what in ("done", "again", "half")}
        removed = self.templates(kinds)
        changes = {writer: self.plan.changes(writer, kinds) for writer in self.plan.people}
        wanted = sum(map(len, changes.values()))
        for writer, theirs in changes.items():
            self.site.start_writer(writer, theirs)
        moments = sorted(self._chance.randrange(wanted) for _ in range(kills))
        until_end = time.monotonic() + PATIENCE
        while self.site.at_work():
            if time.monotonic() > until_end:
                raise click.ClickException(f"it took too long\n{self.site.errors()}")
            if moments and self._said("done") - before["done"] >= moments[0]:
                del moments[0]
                time.sleep(
                    self._chance.uniform(0, 0.2)
                )  # so that kills also happen in the middle of a change
                self._kill(found, changes)
            time.sleep(0.02)
        said, again, half = (self._said(what) - count for what, count in before.items())
        found.said, found.interrupted, found.half = said, again, half
        self.done.append(kinds)
        self.judge(found, removed)
        return found

    def _said(self, what: str) -> int:
        return sum(word == what for writer in self.plan.people for word, *_ in said(self.site.log(writer)))

    def _kill(self, found: Found, changes: dict[int, list[tuple[str, int]]]) -> None:
        kind = self._chance.choice(("client", "client", "service", "service", "server", "backend"))
        if kind == "client":
            at_work = self.site.at_work()
            if not at_work:
                return
            writer = self._chance.choice(at_work)
            self.site.kill_writer(writer)
            self.site.start_writer(writer, changes[writer])
        elif kind == "service":
            self.site.kill_service()
        elif kind == "server":
            self.site.kill_server()
        elif not self.site.kill_backend(self._chance):
            return
        found.kills[kind] += 1

    def templates(self, kinds: str) -> dict[str, np.ndarray]:
        """The templates of the people who will be removed."""
        with GalleryRecords(self.site.gallery, read_only=True) as records:
            return {
                one: np.stack([template.embedding for template in records.templates(one)])
                for writer in self.plan.people
                for one in (name(writer, number) for number in self._removed(writer, kinds))
            }

    def _removed(self, writer: int, kinds: str) -> list[int]:
        return [number for kind, number in self.plan.changes(writer, kinds) if kind == "remove"]

    def _photos(self, writer: int, number: int) -> set[str]:
        files = self.site.photos.get(writer)
        if files is None:
            return {photo(writer, number, place) for place in range(PHOTOS)}
        return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files[number]}

    def judge(self, found: Found, removed: dict[str, np.ndarray]) -> None:
        """Compare the gallery with what was acknowledged; ``removed`` are the templates of people."""
        wanted = self.plan.after(self._photos, self.done)
        with GalleryRecords(self.site.gallery) as records:
            there = {one: {photo.photo for photo in records.photos(one)} for one in records.names()}
            found.lost += sum(there.get(one) != wanted.get(one) for one in there.keys() | wanted.keys())
            until(records.erase, self.site.errors)  # the server may not have noticed lost clients yet
            found.seen += sum(map(len, seen_by_search(records, removed).values()))
        found.seen += self._seen_by_service(removed)
        faults, left = checked(gallery_place(self.site.gallery))
        found.faults += faults
        found.traces += self._traces(removed, left)

    def _seen_by_service(self, removed: dict[str, np.ndarray]) -> int:
        """Of the people removed through the service, how many it finds by their photos, or still lists."""
        if not self.site.has_service:
            return 0
        self.site.wait_for_service()
        answer = httpx2.get(f"{self.site.address}/v1/people", timeout=60)
        seen = removed.keys() & {person["name"] for person in answer.json()["people"]}
        for writer, files in self.site.photos.items() if removed else ():
            for number in self._removed(writer, self.done[-1]):
                sent = {"photo": files[number][0].read_bytes()}
                answer = httpx2.post(
                    f"{self.site.address}/v1/identify", files=sent, params={"top": 1000}, timeout=60
                )
                seen |= removed.keys() & {one["name"] for one in answer.json()["candidates"]}
        return len(seen)

    def _traces(self, removed: dict[str, np.ndarray], left: set[str]) -> int:
        """How many of the removed templates are in files that the check does not report as ``left``."""
        server = self.site.server
        server.ask("CHECKPOINT", "postgres")
        rows = [row for embeddings in removed.values() for row in embeddings]
        chosen = self._chance.sample(rows, min(_TRACED, len(rows)))
        pieces = {row.astype(np.float32).tobytes()[16:80] for row in chosen}
        return sum(bool(server.files_with(piece, under="base", but=left)) for piece in pieces)

    def copies(self, way: str, kills: int) -> Found:
        """Kill copies of the gallery from one kind of place to another, or their server, and resume them."""
        found, longest = Found(), 0.0
        # the first copy is not killed, but timed; one that finishes before it is killed is timed as well
        for number in range(1 + 5 * kills):
            done = sum(found.kills.values())
            if done == kills:
                break
            source, target = self._places(way, number)
            took = self._copy(source, target, longest, found)
            if sum(found.kills.values()) == done:
                longest = took
            found.said += 1
            found.lost += everything(target) != everything(source)
            found.faults += checked(gallery_place(target))[0]
        return found

    def _places(self, way: str, number: int) -> tuple[str, str]:
        before, _, after = way.split()
        source, folder = self.site.gallery, Path(tempfile.mkdtemp(dir=self.site.folder))
        if before == "file":
            source = str(folder / "source.db")
            copy_gallery(gallery_place(self.site.gallery), gallery_place(source))
        return source, self.site.server.new_database() if after == "server" else str(folder / "copy.db")

    def _copy(self, source: str, target: str, longest: float, found: Found) -> float:
        """Copy, with a kill at most ``longest`` seconds after the target has people, and repeat until it is
        done. Return how many seconds the first copy took from then on."""
        command, place = copying(source, target), gallery_place(target)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            until(lambda: is_there(place) or process.poll() is not None, self.site.errors)
            began = time.monotonic()
            if longest:
                time.sleep(self._chance.uniform(0, longest))
                self._kill_copy(process, found)
            found.interrupted += process.wait() != 0
            took = time.monotonic() - began
        whole = people(source)
        found.half += sum(whole.get(one) != photos for one, photos in people(target).items())
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return took

    def _kill_copy(self, process: subprocess.Popen[bytes], found: Found) -> None:
        if process.poll() is not None:
            return
        if self._chance.random() < 0.3:
            self.site.kill_server()
            found.kills["server"] += 1
        else:
            process.kill()
            found.kills["client"] += 1


def copying(source: str, target: str) -> list[str]:
    return [sys.executable, "-m", "facekd", "gallery", "copy", source, target]


def seen_by_search(records: GalleryRecords, removed: dict[str, np.ndarray]) -> dict[str, set[str]]:
    """By index, those of ``removed`` whom it finds by their templates: under their names, or under any name
    if the template itself is still there."""
    seen: dict[str, set[str]] = {}
    for index, made in INDEXES.items():
        search = made(records)
        seen[index] = set()
        for one, rows in removed.items():
            matches = search.search(rows, top=1)
            if any(one in names for names in matches.names) or (matches.scores > _SAME).any():
                seen[index].add(one)
    return seen


def people(place: str) -> People:
    """The people in the gallery; nobody if there is no gallery yet."""
    try:
        with GalleryRecords(place, read_only=True) as records, records.snapshot():
            return {one: {photo.photo for photo in records.photos(one)} for one in records.names()}
    except FacekdError:
        return {}


def everything(place: str) -> list[object]:
    with GalleryRecords(place, read_only=True) as records:
        return [
            records.contract,
            [(one, records.number_of(one), records.uid_of(one)) for one in records.names()],
            [
                (t.embedding.tobytes(), t.photo, t.quality, t.enrolled)
                for one in records.names()
                for t in records.templates(one)
            ],
            sorted(records.removals()),
            list(records.audit_entries()),
        ]


def drill(
    site: Site, photos: Path, plan: Plan, kills: dict[str, int], seed: int
) -> Iterator[tuple[str, Found]]:
    """Yields what was done, and the result of the kills; ``kills`` by kinds of change, or by direction of a
    copy."""
    site.photos = some_photos(photos, site.model, plan, site.folder)
    site.start_service()
    site.wait_for_service()
    one = Drill(site, plan, seed)
    for what, count in kills.items():
        yield what, one.copies(what, count) if " to " in what else one.changes(what, count)


WAYS = ("server to server", "server to file", "file to server")


@click.command()
@click.option(
    "--photos", type=click.Path(exists=True, path_type=Path), default=SAMPLES,
    help="Photos for the writers that use the service: two for each person. [default: the drawn samples]",
)  # fmt: skip
@click.option("--enrollments", type=click.IntRange(16), default=1000, show_default=True)
@click.option(
    "--by-service",
    type=click.IntRange(4),
    default=80,
    show_default=True,
    help="Enrollments through the service.",
)
@click.option(
    "--writers",
    type=click.IntRange(4, 32),
    default=8,
    show_default=True,
    help="Programs that enroll at once.",
)
@click.option(
    "--kills", type=click.IntRange(1), default=24, show_default=True, help="Kills during each kind of change."
)
@click.option(
    "--copies", type=click.IntRange(1), default=4, show_default=True, help="Copies killed in each direction."
)
@click.option("--seed", default=0, show_default=True)
def main(
    photos: Path, enrollments: int, by_service: int, writers: int, kills: int, copies: int, seed: int
) -> int:
    """Kill a gallery's clients, service and database server, and count what is lost."""
    model, reason = shipped_model(), why_not()
    if model is None or reason is not None:
        raise click.UsageError(reason or "no student came with this facekd")
    plan = plan_of(enrollments, writers, by_service)
    asked = dict.fromkeys(("enroll", "remove", "merge"), kills) | dict.fromkeys(WAYS, copies)
    click.echo(f"| during | {HEADINGS} |")
    click.echo("| --- |" + " --- |" * (HEADINGS.count("|") + 1))
    is_bad, began = False, time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(PostgresServer()) as server,
        contextlib.closing(Site(Path(folder), model, server)) as site,
    ):
        for kind, found in drill(site, photos, plan, asked, seed):
            click.echo(f"| {f'copy, {kind}' if ' to ' in kind else kind} | {found} |")
            is_bad = is_bad or found.is_bad
    click.echo(f"\n{time.monotonic() - began:.0f} seconds")
    return 1 if is_bad else 0


if __name__ == "__main__":
    raise SystemExit(run(main))
