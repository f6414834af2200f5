"""Drills of sections A and C: runs that are stopped, killed, or share a folder, and their checkpoints."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from drill_list import Outcome, drill, fact, together
from drill_runs import (
    LONG,
    begin,
    checkpoint_step,
    facekd,
    last_step,
    made_place,
    metrics_of,
    session_of,
    stop_soon,
    wait_for_step,
)
from drill_site import TRAININGS_SPACE, Site, end

# C4 and C5 -----------------------------------------------------------------------------------------


@drill(
    "C4",
    "a second run with --force in the folder of a run in progress",
    "exit 2, in use; the first goes on alone",
)
def two_runs_in_one_folder(site: Site) -> Outcome:
    place = made_place(site, *LONG)
    first = begin(site, place, "--workers", "0")
    try:
        wait_for_step(first, place, 3)
        second = facekd(site, place, "distill", "recipe.toml", "--run", "run", "--force")
        resumed = facekd(site, place, "distill", "recipe.toml", "--run", "run", "--resume")
        at = last_step(place)
        wait_for_step(first, place, at + 3)
        alive = first.poll() is None
        first.send_signal(signal.SIGTERM)
        first.wait(120)
    finally:
        end(first)
    steps = [line["step"] for line in metrics_of(place) if "loss" in line]
    return together(
        second.check(2, "is in use"), resumed.check(2, "is in use"),
        fact(alive, "the first goes on"),
        fact(steps == sorted(set(steps)), "metrics.jsonl holds one run"),
    )  # fmt: skip


@drill(
    "C5",
    "SIGTERM and SIGINT to a run with two decoding processes",
    "143 and 130, a checkpoint, no process left",
)
def asked_to_stop(site: Site) -> Outcome:
    told = []
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        place = made_place(site, *LONG)
        process = begin(site, place, "--workers", "2")
        told += _stopped(process, place, number, code)
        step = checkpoint_step(place)
        told.append(fact(step > 0, "a checkpoint is there"))
    return together(*told)


@drill(
    "C5",
    "SIGKILL to a run with two decoding processes",
    "no process left, stdout closed, goes on with --resume",
)
def killed(site: Site) -> Outcome:
    place = made_place(site, *LONG)
    process = begin(site, place, "--workers", "2")
    told = _stopped(process, place, signal.SIGKILL, -9)
    resumed = facekd(site, place, "distill", "recipe.toml", "--run", "run", "--resume", "--workers", 0,
                     after=stop_soon(place, last_step(place) + 40))  # fmt: skip
    return together(*told, resumed.check(143, "continue with --resume"))


def _stopped(
    process: subprocess.Popen[bytes], place: Path, number: signal.Signals, code: int
) -> list[Outcome]:
    """The remains of a training run after the signal."""
    try:
        # the first checkpoint is there after 30 steps
        wait_for_step(process, place, 35)
        started = session_of(process.pid)
        process.send_signal(number)
        process.wait(90)
        left = time.monotonic() + 30
        while session_of(process.pid) and time.monotonic() < left:
            time.sleep(0.1)
        behind = session_of(process.pid)
        open_end = _open_end(process) if not behind else ""
    finally:
        end(process)
    # whose parent was killed may say so
    quiet = number == signal.SIGKILL or "Traceback" not in open_end
    return [
        fact(process.returncode == code, f"{number.name}: exit {process.returncode}"),
        fact(len(started) >= 3 and not behind, f"{len(started)} processes, {len(behind)} left"),
        fact(quiet, "stdout is closed" if quiet else open_end[-300:]),
    ]


def _open_end(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.read().decode("utf-8", "replace")


# checkpoints ---------------------------------------------------------------------------------------


@drill("A11", "kill -9 a run with a checkpoint every few steps, four times, and go on",
       "'best' is the best of all, 'last' is whole, no half folder is left")  # fmt: skip
def checkpoints_survive_kills(site: Site) -> Outcome:
    place = made_place(site, ("images = 96", "images = 1600"), ("evaluations = 3", "evaluations = 100"))
    options: tuple[str, ...] = ("--workers", "0")
    for at in (21, 62, 101, 150):
        process = begin(site, place, *options)
        with suppress(TimeoutError):
            wait_for_step(process, place, at)
        end(process)
        options = ("--workers", "0", "--resume")
    (place / "run" / "checkpoints" / ".step-7.new").mkdir()
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run", *options)
    scores = [line[_SCORE] for line in metrics_of(place) if _SCORE in line]
    best = json.loads((place / "run" / "checkpoints" / "best" / "state.json").read_text()).get(_SCORE)
    hidden = [one.name for one in (place / "run" / "checkpoints").iterdir() if one.name.startswith(".")]
    return together(
        ran.check(0), fact(best is not None and best == max(scores), f"best {best}, of {len(scores)} looks"),
        fact(not hidden, f"left behind: {hidden or 'nothing'}"),
    )  # fmt: skip


_SCORE = "heldout_tar_1e-3"


@drill("A13", "the learning rate of the first step of a run", "above 0")
def first_step_learns(site: Site) -> Outcome:
    place = made_place(site, ("images = 96", "images = 800"))
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run")
    rates = [line["rate"] for line in metrics_of(place) if "rate" in line]
    told = f"{rates[0]:.2g}, later {max(rates):.2g}" if rates else "none is logged"
    return together(ran.check(0), fact(bool(rates) and 0 < rates[0] < max(rates), told))


@drill("A13", "a run in Python that stops after four steps of eight images", "32 images are returned")
def images_that_were_seen(site: Site) -> Outcome:
    place = made_place(site)
    ran = site.python(
        "from pathlib import Path; from facekd.distillation import SILENT, read_recipe, run_recipe\n"
        "o = run_recipe(read_recipe(Path('recipe.toml')), Path('run'), SILENT,"
        " cache=Path('cache'), workers=0, stop_after=4)\nprint(o.images, 'images')",
        cwd=place, space=TRAININGS_SPACE,
    )  # fmt: skip
    return ran.check(0, "32 images")
