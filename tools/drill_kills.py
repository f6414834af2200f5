"""Kill -9 the clients, the service and the database server while they enroll, remove, merge and copy.

    python tools/drill_kills.py --photos FOLDER --enrollments 1000 --writers 8

Starts a PostgreSQL server of its own in a temporary folder, a service over it with two workers, and writers
(`kill_writers.py`), each a process: most change the gallery from Python with made-up templates, every fourth
asks the service, with photos of FOLDER, a folder or pack. At random moments one of the writers, the service,
the server or one of its processes is killed and started again. The writers enroll, then remove some of their
people, then merge others. After that copies of the gallery between databases and files are killed, or their
server is, and made again.

After each, the gallery is compared with what was acknowledged. "Interrupted" are changes that failed or whose
writer was killed: somebody looked whether they had been made, and made them if not. "Lost" are acknowledged
changes that are missing, "half done" people who were neither as before a change nor as after it, and "faults"
those that `facekd gallery check` finds. "Seen" are people who were removed and whom a search of the records
or of the service still finds, "traces" removed templates of which the files of the tables hold a piece.
Prints a table; exits with 1 unless the last five columns are zero.
"""

from __future__ import annotations

import os

# before numpy is loaded, here and in the processes
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import contextlib
import hashlib
import json
import random
import signal
import socket
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
import psycopg
from kill_writers import PHOTOS, name, photo, said
from load_service import usable_photos

from facekd.errors import FacekdError
from facekd.gallery import GalleryCheck, GalleryRecords, SearchIndex, copy_gallery, gallery_place, is_there
from facekd.weights import shipped_model
from facekd.workflows import Recognizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from postgres_server import PostgresServer, why_not

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "data" / "samples"
HEADINGS = (
    "client | service | server | interrupted | acknowledged | lost | half done | faults | seen | traces"
)
#: seconds that anything may take
_PATIENCE = 900
#: a score of a template with itself
_SAME = 0.9999
#: how many removed templates are looked for in the files
_TRACED = 50

#: people, and the digests of their photos
People = dict[str, set[str]]
#: ways to search the records; whoever was removed must be found by none
INDEXES: dict[str, Callable[[GalleryRecords], SearchIndex]] = {
    "exact": SearchIndex.of,
    "exact, by each template": lambda records: SearchIndex.of(records, rule="max"),
}


@dataclass
class Found:
    """What the kills came to, of which there were ``kills`` by kind."""

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


class Site:
    """A server, a service over a gallery in it, and writers, all of which can be killed."""

    def __init__(self, folder: Path, model: Path, server: PostgresServer) -> None:
        self.folder, self.server = folder, server
        self.gallery = server.new_database()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.model = model
        self._service: subprocess.Popen[bytes] | None = None
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        #: of writers that ask the service, by person
        self.photos: dict[int, dict[int, list[Path]]] = {}

    def close(self) -> None:
        for process in (*self._running.values(), self._service):
            if process is not None:
                process.kill()
                process.wait()

    def start_service(self) -> None:
        command = [sys.executable, "-m", "facekd", "serve", "--port", self.port, "--model", self.model,
                   "--gallery", self.gallery, "--workers", "2"]  # fmt: skip
        with (self.folder / "service.log").open("ab") as log:
            self._service = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)

    @property
    def has_service(self) -> bool:
        return self._service is not None

    def wait_for_service(self) -> None:
        """Return when the gallery can be used through it."""

        def ready() -> bool:
            with contextlib.suppress(httpx2.TransportError):
                return bool(httpx2.get(f"{self.address}/readyz", timeout=60).status_code == 200)
            return False

        until(ready, lambda: (self.folder / "service.log").read_text())

    def log(self, writer: int) -> Path:
        return self.folder / f"writer{writer}.log"

    def start_writer(self, writer: int, changes: list[tuple[str, int]]) -> None:
        asks = writer in self.photos
        job = {
            "log": str(self.log(writer)), "gallery": self.gallery, "writer": writer, "changes": changes,
            "address": self.address if asks else None,
            "photos": {person: [str(file) for file in files]
                       for person, files in self.photos.get(writer, {}).items()},
        }  # fmt: skip
        program = [sys.executable, str(ROOT / "tools" / "kill_writers.py"), json.dumps(job)]
        with (self.folder / "errors").open("ab") as errors:
            self._running[writer] = subprocess.Popen(program, stderr=errors)

    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    def at_work(self) -> list[int]:
        """The writers that have not made all their changes. Raises `ClickException` for one that failed."""
        for writer, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[writer]
                if process.returncode:
                    raise click.ClickException(f"writer {writer}: {self.errors()}")
        return list(self._running)

    def kill_writer(self, writer: int) -> None:
        process = self._running.pop(writer)
        process.kill()
        process.wait()

    def kill_service(self) -> None:
        assert self._service is not None
        self._service.kill()
        self._service.wait()
        self.start_service()

    def kill_server(self) -> None:
        self.server.stop("KILL")
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return self.server.start()
            except RuntimeError:  # its processes, which notice it by themselves, hold the memory until then
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def kill_backend(self, chance: random.Random) -> bool:
        """Kill a process of the server that serves a connection; whether there was one."""
        query = (
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname <> 'postgres'"
        )
        pids = [row[0] for row in self.server.ask(query, "postgres")]
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
            until(self._answers, self.errors)
        return bool(pids)

    def _answers(self) -> bool:
        try:
            return bool(self.server.ask("SELECT 1", "postgres"))
        except psycopg.OperationalError:  # it ends all connections, and recovers
            return False


def until(true: Callable[[], object], told: Callable[[], str]) -> None:
    end = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > end:
            raise click.ClickException(f"it took too long\n{told()}")
        time.sleep(0.05)


@dataclass
class Plan:
    """Who is enrolled, removed and merged: ``people`` of each writer by number, of which the second of every
    four is removed, and the third of every four takes in the fourth."""

    people: dict[int, int]
    asking: frozenset[int]

    def changes(self, writer: int, kinds: str) -> list[tuple[str, int]]:
        """Those of a writer, by person; ``kinds`` are words with commas between them."""
        last = self.people[writer] - 1
        found = []
        for number in range(last + 1):
            if "enroll" in kinds:
                found.append(("enroll", number))
            if "remove" in kinds and number % 4 == 1:
                found.append(("remove", number))
            # the service merges nobody
            if "merge" in kinds and number % 4 == 2 and number < last and writer not in self.asking:
                found.append(("merge", number))
        return found

    def after(self, photos: Callable[[int, int], set[str]], done: list[str]) -> People:
        """Everybody, when the changes of the kinds ``done`` have been made in turn."""
        there: People = {}
        for kinds in done:
            for writer in self.people:
                for kind, number in self.changes(writer, kinds):
                    one = name(writer, number)
                    if kind == "enroll":
                        there[one] = photos(writer, number)
                    elif kind == "remove":
                        del there[one]
                    else:
                        there[one] = there[one] | there.pop(name(writer, number + 1))
        return there


class Drill:
    """The kills of one run, at moments that ``seed`` chooses."""

    def __init__(self, site: Site, plan: Plan, seed: int) -> None:
        self.site, self.plan, self._chance = site, plan, random.Random(seed)
        #: the kinds of changes that have been made, in turn
        self.done: list[str] = []

    def changes(self, kinds: str, kills: int) -> Found:
        """Let the writers make their changes of these kinds, with so many kills meanwhile."""
        found, before = Found(), {what: self._said(what) for what in ("done", "again", "half")}
        removed = self.templates(kinds)
        changes = {writer: self.plan.changes(writer, kinds) for writer in self.plan.people}
        wanted = sum(map(len, changes.values()))
        for writer, theirs in changes.items():
            self.site.start_writer(writer, theirs)
        moments = sorted(self._chance.randrange(wanted) for _ in range(kills))
        until_end = time.monotonic() + _PATIENCE
        while self.site.at_work():
            if time.monotonic() > until_end:
                raise click.ClickException(f"it took too long\n{self.site.errors()}")
            if moments and self._said("done") - before["done"] >= moments[0]:
                del moments[0]
                time.sleep(self._chance.uniform(0, 0.2))  # in the middle of a change, too
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
        """Those of the people who will be removed."""
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
            until(records.erase, self.site.errors)  # the server may still notice whom it has lost
            found.seen += sum(map(len, seen_by_search(records, removed).values()))
        found.seen += self._seen_by_service(removed)
        found.faults += sum(1 for _ in GalleryCheck(gallery_place(self.site.gallery)).faults())
        found.traces += self._traces(removed)

    def _seen_by_service(self, removed: dict[str, np.ndarray]) -> int:
        """Of those who were removed through it, how many a search by their photos finds; and how many it
        lists."""
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

    def _traces(self, removed: dict[str, np.ndarray]) -> int:
        self.site.server.ask("CHECKPOINT", "postgres")
        rows = [row for embeddings in removed.values() for row in embeddings]
        chosen = self._chance.sample(rows, min(_TRACED, len(rows)))
        content = b"".join(
            file.read_bytes() for file in (self.site.server.data / "base").rglob("*") if file.is_file()
        )
        return sum(row.astype(np.float32).tobytes()[16:80] in content for row in chosen)

    def copies(self, way: str, kills: int) -> Found:
        """Kill copies of the gallery from one kind of place to another, or their server, and go on."""
        found, longest = Found(), 0.0
        # a copy that was faster than the first, which nobody kills, may be done before it is killed
        for number in range(1 + 3 * kills):
            if sum(found.kills.values()) == kills:
                break
            source, target = self._places(way, number)
            took = self._copy(source, target, longest, found)
            longest = longest or took
            found.said += 1
            found.lost += everything(target) != everything(source)
            found.faults += sum(1 for _ in GalleryCheck(gallery_place(target)).faults())
        return found

    def _places(self, way: str, number: int) -> tuple[str, str]:
        before, _, after = way.split()
        source, folder = self.site.gallery, Path(tempfile.mkdtemp(dir=self.site.folder))
        if before == "file":
            source = str(folder / "source.db")
            copy_gallery(gallery_place(self.site.gallery), gallery_place(source))
        return source, self.site.server.new_database() if after == "server" else str(folder / "copy.db")

    def _copy(self, source: str, target: str, longest: float, found: Found) -> float:
        """Copy, with a kill at most ``longest`` seconds after there is something, and copy again until it is
        done. Seconds that the first copy took from there."""
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
    """Of those ``removed``, by index, whom it finds by their templates: under their names, or under any if
    the template itself is still there."""
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
    """Who is there; nobody, where there is no gallery yet."""
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


def some_photos(place: Path, model: Path, plan: Plan, folder: Path) -> dict[int, dict[int, list[Path]]]:
    """The photos of each person whom a writer enrolls through the service: files in ``folder``."""
    theirs = [(writer, number) for writer in sorted(plan.asking) for number in range(plan.people[writer])]
    found = usable_photos(place, Recognizer(model), PHOTOS * len(theirs)) if theirs else []
    given: dict[int, dict[int, list[Path]]] = {writer: {} for writer in plan.asking}
    for place_in, (writer, number) in enumerate(theirs):
        given[writer][number] = []
        for content in found[PHOTOS * place_in : PHOTOS * (place_in + 1)]:
            file = folder / f"{writer}-{number}-{len(given[writer][number])}"
            file.write_bytes(content)
            given[writer][number].append(file)
    return given


def plan_of(enrollments: int, writers: int, by_service: int) -> Plan:
    """Of ``enrollments``, ``by_service`` through the service, by every fourth writer."""
    asking = frozenset(range(3, writers, 4))
    others = [writer for writer in range(writers) if writer not in asking]
    shares = dict.fromkeys(range(writers), 0)
    for group, count in ((sorted(asking), by_service), (others, enrollments - by_service)):
        for number in range(count):
            shares[group[number % len(group)]] += 1
    return Plan(shares, asking)


def drill(
    site: Site, photos: Path, plan: Plan, kills: dict[str, int], seed: int
) -> Iterator[tuple[str, Found]]:
    """What was done, with what the kills came to; ``kills`` by kinds of change, or the way of a copy."""
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
    help="For the writers that ask the service: two for each person. [default: the drawn samples]",
)  # fmt: skip
@click.option("--enrollments", type=click.IntRange(16), default=1000, show_default=True)
@click.option("--by-service", type=click.IntRange(4), default=80, show_default=True, help="How many of them.")
@click.option("--writers", type=click.IntRange(4, 32), default=8, show_default=True)
@click.option(
    "--kills", type=click.IntRange(1), default=24, show_default=True, help="In each kind of change."
)
@click.option("--copies", type=click.IntRange(1), default=4, show_default=True, help="Killed, of each way.")
@click.option("--seed", default=0, show_default=True)
def main(
    photos: Path, enrollments: int, by_service: int, writers: int, kills: int, copies: int, seed: int
) -> None:
    """Kill a gallery's clients, service and database server, and count what is lost."""
    model, reason = shipped_model(), why_not()
    if model is None or reason is not None:
        raise click.UsageError(reason or "no student came with this facekd")
    plan = plan_of(enrollments, writers, by_service)
    asked = dict.fromkeys(("enroll", "remove", "merge"), kills) | dict.fromkeys(WAYS, copies)
    click.echo(f"| meanwhile | {HEADINGS} |")
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
    sys.exit(1 if is_bad else 0)


if __name__ == "__main__":
    main()
