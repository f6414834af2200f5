"""Draw many synthetic people at once, as a folder per person of JPEG files or as a zip of the same."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from facekd.errors import InputOutput, UsageError
from facekd.samples.capture import capture
from facekd.samples.identity import person
from facekd.samples.photo import draw

#: the date of zip members, constant so that the same people give the same file
_DATE = (1980, 1, 1, 0, 0, 0)

_Put = Callable[[str, bytes], None]


@dataclass(frozen=True)
class PhotoCounts:
    """The counts of what was drawn."""

    people: int
    photos: int
    bytes: int


def person_seed(seed: int, number: int) -> int:
    """The seed for `person` of person ``number`` (0, 1, ...) of the population ``seed``."""
    return seed * 1_000_000 + number


def draw_people(
    folder_or_zip: str | os.PathLike[str],
    people: int,
    photos: int,
    seed: int = 0,
    first: int = 0,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    size: int = 200,
) -> PhotoCounts:
    """Draw ``people`` with ``photos`` each into ``person-0001/0001.jpg`` and so on.

    ``first`` is the number of the first person (from 0; person 0 is ``person-0001``), so that two
    calls with separate ranges draw separate people. ``size`` is the photos' side in pixels.
    ``workers`` processes share the work (default: one for each processor this process may use);
    they import the calling program again, so a script must guard its start with
    ``if __name__ == "__main__"``. ``progress`` is called with the number of photos just finished.

    The target appears when all is drawn, or not at all. Raises `UsageError` if it already
    exists or nothing is to be drawn, `InputOutput` if it cannot be written.
    """
    target = Path(folder_or_zip)
    _check(target, people, photos, first, size)
    jobs = [(seed, number, photos, size) for number in range(first, first + people)]
    written = 0
    try:
        with _album(target) as put:
            for (_, number, *_), files in zip(jobs, _drawn(jobs, workers), strict=True):
                for photo, data in enumerate(files, start=1):
                    put(f"person-{number + 1:04d}/{photo:04d}.jpg", data)
                    written += len(data)
                if progress:
                    progress(len(files))
    except OSError as error:
        raise InputOutput(f"{target}: cannot be written ({error.strerror or error})") from error
    return PhotoCounts(people, people * photos, written)


def _check(target: Path, people: int, photos: int, first: int, size: int) -> None:
    if people < 1 or photos < 1 or first < 0:
        raise UsageError(f"{people} people from number {first} with {photos} photos each: nothing to draw")
    if not 64 <= size <= 1024:
        raise UsageError(f"photos of {size} pixels cannot be drawn", "Choose a side between 64 and 1024.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{target} already exists", "Remove it or choose another name.")


def _drawn(jobs: list[tuple[int, int, int, int]], workers: int | None) -> Iterator[list[bytes]]:
    """The photos of each job, in order."""
    count = min(workers or _processors(), len(jobs))
    if count == 1:
        yield from map(_photos_of, jobs)
        return
    # spawned, not forked: the caller may hold threads and sessions that do not survive a fork
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_one_thread)
    try:
        yield from pool.map(_photos_of, jobs)
    except BrokenProcessPool as error:
        raise InputOutput("a drawing process ended before its work", "Ask for fewer workers.") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _processors() -> int:
    # not every system reports which processors a process may use
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _photos_of(job: tuple[int, int, int, int]) -> list[bytes]:
    import cv2

    seed, number, photos, size = job
    who = person(person_seed(seed, number))
    files = []
    for photo in range(photos):
        bgr = cv2.cvtColor(draw(who, photo, size), cv2.COLOR_RGB2BGR)
        quality = capture(who.seed, photo).jpeg_quality
        files.append(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
    return files


@contextmanager
def _album(target: Path) -> Iterator[_Put]:
    """A place to put files, which becomes ``target`` at the end, and disappears on failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        if target.suffix.lower() == ".zip":
            with zipfile.ZipFile(beside / "pack", "w", zipfile.ZIP_STORED) as archive:
                yield lambda name, data: archive.writestr(zipfile.ZipInfo(name, _DATE), data)
            (beside / "pack").replace(target)
        else:
            tree = beside / "tree"
            tree.mkdir()
            yield lambda name, data: _put_file(tree / name, data)
            tree.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _put_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
