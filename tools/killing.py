"""Shared by drills that kill a program while it changes a gallery: the kill, and the results."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import click

from facekd.gallery import GalleryCheck, KeySource, Place

HEADINGS = "kills | acknowledged | lost | half done | faults | traces"


@dataclass
class Found:
    """The results of the kills."""

    kills: int = 0
    said: int = 0
    lost: int = 0
    half: int = 0
    faults: int = 0
    traces: int = 0

    @property
    def is_bad(self) -> bool:
        return bool(self.lost + self.half + self.faults + self.traces)

    def __str__(self) -> str:
        counts = (self.kills, self.said, self.lost, self.half, self.faults, self.traces)
        return " | ".join(map(str, counts))


def kill_once(program: str, *work: object, seconds: float, first: Callable[[], object] | None = None) -> int:
    """Start ``program --work ...``, which prints "ready" and then a line for each change it acknowledges;
    after ``seconds`` do what is to be done ``first``, if anything, kill the program, and return how many
    changes it acknowledged."""
    command = [sys.executable, program, "--work", *map(str, work)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise click.ClickException("the program to be killed did not start")
    time.sleep(seconds)
    if process.poll():
        raise click.ClickException(f"the program to be killed had ended with {process.poll()}")
    if first is not None:
        first()
    process.kill()
    said = sum(line.endswith("\n") for line in process.stdout)
    process.wait()
    return said


def checked(gallery: Place, key: KeySource | None = None) -> tuple[int, set[str]]:
    """The number of faults of the gallery, and the files that a killed server left behind, which are none of
    them: relative to the server's data folder."""
    faults = list(GalleryCheck(gallery, key).faults())
    told = [fault.message.rpartition(": ")[2] for fault in faults if fault.kind == "left_behind"]
    return len(faults) - len(told), {file for files in told for file in files.split(", ")}
