"""Folders with a recipe and crops, and training runs in them, for the drills of training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from drill_site import TRAININGS_SPACE, Ran, Site

RECIPE = """
seed = 3
[data]
labelled = ["crops"]
heldout = "heldout.txt"
[student]
name = "plainres"
settings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }
[teacher]
models = ["teacher.onnx"]
floor = 0.2
[augmentation]
shift = 2.0
[[loss]]
name = "cosine"
[schedule]
images = 96
batch = 8
evaluations = 3
precision = "float32"
"""
HELD_OUT = 20
LONG = (("images = 96", "images = 48000"), ("evaluations = 3", "evaluations = 200"))


def made_place(site: Site, *changes: tuple[str, str], heldout_line: tuple[str, str] | None = None) -> Path:
    """A folder with crops of synthetic people, a list of held-out ones, the shipped student as the teacher,
    and a recipe with ``changes``."""
    place = site.new("place")
    shutil.copytree(site.crops, place / "crops")
    people = sorted(one.name for one in (place / "crops").iterdir())
    (place / "heldout.txt").write_text("\n".join(people[:HELD_OUT]) + "\n")
    shutil.copy(site.model, place / "teacher.onnx")
    (place / "recipe.toml").write_text(RECIPE)
    change(place, *changes, *([heldout_line] if heldout_line else []))
    return place


def change(place: Path, *changes: tuple[str, str]) -> None:
    file = place / "recipe.toml"
    text = file.read_text()
    for old, new in changes:
        if old not in text:
            raise ValueError(f"the recipe has no {old!r}")
        text = text.replace(old, new)
    file.write_text(text)


_FINISHED: dict[Path, Path] = {}


def finished_run(site: Site) -> Path:
    """A place with a finished ``run``; must not be changed."""
    if site.folder not in _FINISHED:
        place = made_place(site)
        ran = facekd(site, place, "distill", "recipe.toml", "--run", "run")
        if ran.code:
            raise RuntimeError(f"no run: {ran.err[-500:]}")
        _FINISHED[site.folder] = place
    return _FINISHED[site.folder]


def cut_run(site: Site) -> Path:
    """A place with a ``run`` that was stopped before its end."""
    place = made_place(site, *LONG)
    ran = facekd(
        site, place, "distill", "recipe.toml", "--run", "run", "--workers", 0, after=stop_soon(place, 35)
    )
    if ran.code != 143:
        raise RuntimeError(f"no run: {ran.err[-500:]}")
    return place


def facekd(site: Site, place: Path, *arguments: object, **settings: Any) -> Ran:
    return site.facekd(*arguments, cwd=place, space=TRAININGS_SPACE, seconds=400, **settings)


def begin(site: Site, place: Path, *options: str) -> subprocess.Popen[bytes]:
    """A run in ``place`` that continues beside the drill; its output comes through one pipe."""
    command = [sys.executable, "-m", "facekd", "distill", "recipe.toml", "--run", "run", *options]
    return site.start(
        command, cwd=place, space=TRAININGS_SPACE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def metrics_of(place: Path) -> list[dict[str, Any]]:
    file = place / "run" / "metrics.jsonl"
    found = []
    for line in file.read_text().splitlines() if file.is_file() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def last_step(place: Path) -> int:
    return max((line.get("step", 0) for line in metrics_of(place)), default=0)


def checkpoint_step(place: Path) -> int:
    """The step of the last checkpoint, 0 without one."""
    file = place / "run" / "checkpoints" / "last" / "state.json"
    return int(json.loads(file.read_text())["step"]) if file.is_file() else 0


def wait_for_step(process: subprocess.Popen[bytes], place: Path, step: int) -> None:
    """Wait until the run has logged ``step``, or ends. Raises `TimeoutError`."""
    patience = time.monotonic() + 240
    while last_step(place) < step and process.poll() is None:
        if time.monotonic() > patience:
            raise TimeoutError(f"the run does not reach step {step}")
        time.sleep(0.02)


def stop_soon(place: Path, step: int) -> Callable[[subprocess.Popen[bytes]], None]:
    """SIGTERM at ``step``."""

    def stop(process: subprocess.Popen[bytes]) -> None:
        wait_for_step(process, place, step)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)

    return stop


def session_of(leader: int) -> list[int]:
    """The running processes of the session that ``leader`` started, without zombies."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            state, _, _, session = file.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(file.parent.name))
    return found
