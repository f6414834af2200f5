"""Writers and the server itself are killed while people are enrolled, merged and removed: what was
acknowledged is there, nothing is half done, and nobody who was removed can be found."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_galleries import CONTRACT, embedding

from facekd.gallery import GalleryCheck, GalleryRecords, SearchIndex, gallery_place

if TYPE_CHECKING:
    from postgres_server import PostgresServer

WRITERS, KILLS = 4, 8

#: enrolls, renames, merges and removes people of its own, and says what is done when it is
_WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from made_galleries import CONTRACT, template
from facekd.errors import InputOutput
from facekd.gallery import GalleryRecords
url, mine, at = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def say(*words):
    print(*words, flush=True)
while True:
    at += 1
    name, seed = f"w{mine}-{at}", 100_000 * (mine + 1) + 3 * at
    for what in ("add", "more", "remove" if at % 3 else "merge"):
        try:
            with GalleryRecords(url, CONTRACT) as records:
                say("begin", what, name, seed)
                with records.transaction():
                    if what == "add":
                        records.add(name, [template(seed), template(seed + 1)])
                    elif what == "more":
                        records.add(f"{name}b", [template(seed + 2)])
                    elif what == "remove":
                        records.remove(name)
                    else:
                        records.merge(f"{name}b", name)
                say("done", what, name, seed)
        except InputOutput as error:
            say("failed", type(error).__name__)
            break
"""


class Writers:
    def __init__(self, url: str, folder: Path) -> None:
        self.url, self._folder = url, folder
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._starts = 0

    def start(self, mine: int) -> None:
        self._starts += 1
        tests = str(Path(__file__).parents[1])
        command = [sys.executable, "-c", _WRITER, tests, self.url, str(mine), str(1000 * self._starts)]
        log = (self._folder / f"{mine}-{self._starts}.log").open("wb")
        errors = (self._folder / "errors").open("ab")
        self._running[mine] = subprocess.Popen(command, stdout=log, stderr=errors)

    def kill(self, mine: int) -> None:
        process = self._running.pop(mine)
        process.kill()
        process.wait()

    def acknowledged(self) -> Iterator[tuple[str, str, str, int]]:
        """What each said, in order: whether it began or was done, what, to whom, by which seed."""
        for log in sorted(self._folder.glob("*.log")):
            for line in log.read_text().splitlines():
                words = line.split()
                if len(words) == 4:
                    yield words[0], words[1], words[2], int(words[3])


@pytest.fixture
def writers(postgres: PostgresServer, tmp_path: Path) -> Iterator[Writers]:
    url = postgres.new_database()
    GalleryRecords(url, CONTRACT, create=True).close()
    made = Writers(url, tmp_path)
    yield made
    for mine in list(made._running):
        made.kill(mine)


@pytest.mark.long
def test_kills_lose_nothing_that_was_acknowledged(
    writers: Writers, postgres: PostgresServer, tmp_path: Path
) -> None:
    chance = random.Random(7)
    for mine in range(WRITERS):
        writers.start(mine)
    for kill in range(KILLS):
        time.sleep(chance.uniform(1.5, 4))
        if kill % 4 == 3:
            postgres.stop("QUIT")  # as a crash: connections are cut in whatever they do
            postgres.start()
        else:
            mine = chance.randrange(WRITERS)
            writers.kill(mine)
            writers.start(mine)
    time.sleep(3)
    for mine in range(WRITERS):
        writers.kill(mine)
    assert (tmp_path / "errors").read_text() == ""
    said = list(writers.acknowledged())
    assert sum(first == "done" for first, *_ in said) > 2 * WRITERS
    judge(said, writers.url)


def judge(said: list[tuple[str, str, str, int]], url: str) -> None:
    done = {(what, name) for first, what, name, _ in said if first == "done"}
    begun = {(what, name) for first, what, name, _ in said if first == "begin"}
    place = gallery_place(url)
    with GalleryRecords(url) as records:
        assert records.erase() is True
        there = {name: {t.photo for t in records.templates(name)} for name in records.names()}
        index = SearchIndex.of(records)
        for name, seed in {(name, seed) for first, what, name, seed in said if what == "add"}:
            found = (there.get(name), there.get(f"{name}b"))
            assert found in possible(name, seed, begun, done), name
            if ("remove", name) in done:  # nothing finds whoever was removed
                assert index.search(embedding(seed)[None], 1).scores[0, 0] < 0.9
    assert list(GalleryCheck(place).faults()) == []


Photos = tuple[set[str] | None, set[str] | None]


def possible(name: str, seed: int, begun: set[tuple[str, str]], done: set[tuple[str, str]]) -> list[Photos]:
    """What a person's photos, and those of the other that belongs to them, may be: what was done last, or,
    where one more change was begun, that too."""
    own, other = {f"{seed:064x}", f"{seed + 1:064x}"}, {f"{seed + 2:064x}"}
    steps: list[tuple[str, Photos]] = [
        ("add", (own, None)), ("more", (own, other)), ("remove", (None, other)),
        ("merge", (None, own | other)),
    ]  # fmt: skip
    may: list[Photos] = [(None, None)]
    for what, after in steps:
        if (what, name) in done:
            may = [after]
        elif (what, name) in begun:
            may.append(after)
    return may


def test_what_is_possible() -> None:
    begun, done = {("add", "x"), ("more", "x"), ("merge", "x")}, {("add", "x"), ("more", "x")}
    own, other = {f"{0:064x}", f"{1:064x}"}, {f"{2:064x}"}
    assert possible("x", 0, begun, done) == [(own, other), (None, own | other)]
    assert possible("x", 0, begun, begun) == [(None, own | other)]
    assert possible("x", 0, {("add", "x")}, set()) == [(None, None), (own, None)]
