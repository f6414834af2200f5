"""The writers that `drill_kills.py` kills: each changes people of its own, and logs what it did.

    python tools/kill_writers.py JOB

JOB is a JSON document: ``log``, the file to append to; ``gallery``, a URL; ``address``, that of the service
for a writer that uses it, otherwise null; ``writer``, its number; ``changes``, a list of [kind, person]; and
``photos``, the files of each person for a writer that uses the service. The writer makes the changes that the
log does not list as done, in order. Before a change it writes ``begin KIND PERSON``, after it ``done KIND
PERSON``. A change that failed, or was begun by a writer that was killed, may have been made or not: the
writer logs ``again KIND PERSON``, checks the people concerned first, and logs ``half KIND PERSON`` if their
state is neither that before the change nor that after it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput, NotFound
from facekd.gallery import GalleryRecords, Template

#: templates of a person, or photos if enrolled through the service
PHOTOS = 2
#: seconds after which a change that failed is tried again
_PAUSE = 0.1

#: the number of photos of a person, and of the one merged into them; 0 if not enrolled
State = tuple[int, int]
#: before and after a change
STATES: dict[str, tuple[State, State]] = {
    "enroll": ((0, 0), (PHOTOS, 0)),
    "remove": ((PHOTOS, 0), (0, 0)),
    # the first of the two remains, with the photos of both
    "merge": ((PHOTOS, PHOTOS), (2 * PHOTOS, 0)),
}


def name(writer: int, person: int) -> str:
    return f"writer {writer} person {person:04d}"


def photo(writer: int, person: int, place: int) -> str:
    """The digest of a made-up photo."""
    return f"{writer:016x}{person:024x}{place:024x}"


def embedding(writer: int, person: int, place: int, dim: int) -> NDArray[np.float32]:
    row = np.random.default_rng((writer, person, place)).normal(size=dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


class Refused(Exception):
    """The service is temporarily unable to do it."""


class Way(Protocol):
    """How a writer changes a gallery. Methods raise `InputOutput` or `Refused` if that fails for now."""

    def make(self, kind: str, person: int) -> None: ...

    def photos(self, person: int) -> int: ...


class ByRecords:
    """Changes the database from Python. One connection serves all changes, and is replaced if it fails."""

    def __init__(self, gallery: str, writer: int) -> None:
        self._gallery, self._writer = gallery, writer
        self._records: GalleryRecords | None = None

    def _open(self) -> GalleryRecords:
        if self._records is None:
            with GalleryRecords(self._gallery, read_only=True) as records:
                contract = records.contract
            self._records = GalleryRecords(self._gallery, contract)
        return self._records

    def make(self, kind: str, person: int) -> None:
        records, one = self._open(), name(self._writer, person)
        with records.transaction():
            if kind == "enroll":
                records.add(one, self._templates(person, records.contract.dim))
            elif kind == "remove":
                records.remove(one)
            else:
                records.merge(one, name(self._writer, person + 1))

    def _templates(self, person: int, dim: int) -> list[Template]:
        mine = (self._writer, person)
        return [Template(embedding(*mine, place, dim), photo(*mine, place), 0.5) for place in range(PHOTOS)]

    def photos(self, person: int) -> int:
        try:
            return self._open().person(name(self._writer, person)).templates
        except NotFound:
            return 0


class ByService:
    """Changes the gallery through the service, with photos."""

    def __init__(self, address: str, writer: int, photos: dict[str, list[str]]) -> None:
        import httpx2

        self._httpx, self._writer, self._photos = httpx2, writer, photos
        self._client = httpx2.Client(base_url=address, timeout=60)

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        try:
            answer = self._client.request(method, path, **what)
        except self._httpx.TransportError as error:
            raise Refused(type(error).__name__) from error
        if answer.status_code in (429, 503):
            raise Refused(answer.text)
        return answer

    def _path(self, person: int) -> str:
        return f"/v1/people/{quote(name(self._writer, person))}"

    def make(self, kind: str, person: int) -> None:
        if kind == "enroll":
            files = [("photos", (one, Path(one).read_bytes())) for one in self._photos[str(person)]]
            # a person would have to decide about photos that look alike: overrule the guard
            options = {"force": True, "on_many": "best"}
            answer = self._ask("POST", f"{self._path(person)}/photos", files=files, params=options)
        else:
            answer = self._ask("DELETE", self._path(person))
        if answer.status_code != 200:
            raise RuntimeError(f"{kind} {person}: {answer.status_code} {answer.text}")

    def photos(self, person: int) -> int:
        answer = self._ask("GET", self._path(person))
        return 0 if answer.status_code == 404 else len(answer.json()["photos"])


@dataclass
class Writer:
    way: Way
    say: Callable[..., None]

    def work(self, changes: list[tuple[str, int]], interrupted: bool) -> None:
        """Make ``changes`` in order; if the previous writer was ``interrupted``, the first may have been
        made."""
        for kind, person in changes:
            self.say("begin", kind, person)
            if interrupted:
                self.say("again", kind, person)
            while not self._is_made(kind, person, interrupted):
                if not interrupted:
                    self.say("again", kind, person)
                time.sleep(_PAUSE)
                interrupted = True
            self.say("done", kind, person)
            interrupted = False

    def _is_made(self, kind: str, person: int, interrupted: bool) -> bool:
        try:
            if interrupted:
                before, after = STATES[kind]
                found = (self.way.photos(person), self.way.photos(person + 1) if kind == "merge" else 0)
                if found == after:
                    return True
                if found != before:
                    self.say("half", kind, person)
                    return True
            self.way.make(kind, person)
        except (InputOutput, Refused):
            return False
        return True


def said(log: Path) -> list[tuple[str, str, int]]:
    """The log of a writer and its predecessors: complete lines only, since a kill may cut one off."""
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    words = [line.split() for line in lines if line.endswith("\n")]
    return [(word, kind, int(person)) for word, kind, person in words]


def main(job: dict[str, Any]) -> None:
    log, writer = Path(job["log"]), job["writer"]
    told = said(log)
    done = {(kind, person) for word, kind, person in told if word == "done"}
    left = [(kind, person) for kind, person in job["changes"] if (kind, person) not in done]
    begun = {(kind, person) for word, kind, person in told if word == "begin"}
    way: Way = (
        ByService(job["address"], writer, job["photos"])
        if job["address"]
        else ByRecords(job["gallery"], writer)
    )
    with log.open("a") as file:

        def say(*words: object) -> None:
            print(*words, file=file, flush=True)

        Writer(way, say).work(left, interrupted=bool(left) and left[0] in begun)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
