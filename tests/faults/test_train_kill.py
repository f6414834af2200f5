"""A run that is killed in the middle of an epoch resumes as if it had not been."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import losses_of, make_place, recipe, run

from facekd.distillation import Recipe
from facekd.training import RunFolder, locked_run

ROOT = Path(__file__).parents[2]


def steps_so_far(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return max((json.loads(line).get("step", 0) for line in lines if line.endswith("}")), default=0)


#: steps of the run, and how many lie between two evaluations, each of which keeps a checkpoint
STEPS, BETWEEN = 200, 40


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def long_recipe(place: Path) -> Recipe:
    # sixteen crops in batches of six: every third batch holds the end of an epoch
    return recipe(
        place,
        n=("images = 96", f"images = {6 * STEPS}"),
        b=("batch = 8", "batch = 6"),
        e=("evaluations = 3", f"evaluations = {STEPS // BETWEEN}"),
    )


def started(place: Path, name: str, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"FACEKD_CACHE": str(place), "FACEKD_TEST_PLACE": str(place)}
    command = [sys.executable, "-m", "facekd", "distill", str(place / "recipe.toml"), "--run", name]
    return subprocess.Popen(
        [*command, "--threads", "1", *options],
        cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_step(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    patience = time.monotonic() + 400
    while steps_so_far(folder) < step and process.poll() is None:
        assert time.monotonic() < patience
        time.sleep(0.002)


def of_this_run(place: Path) -> list[int]:
    """The processes that the run of ``place`` started, itself among them."""
    mark, found = f"FACEKD_TEST_PLACE={place}".encode(), []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in file.read_bytes():
                found.append(int(file.parent.name))
    return found


def signalled(
    place: Path, number: signal.Signals, after: int, *options: str
) -> tuple[subprocess.Popen[str], str]:
    """The run "cut", ended by a signal after the step ``after``, and its output. The decoding processes end
    with it, and none of them keeps its output open."""
    with started(place, "cut", *options) as process:
        wait_for_step(process, place / "cut", after)
        if "2" in options and Path("/proc/self/environ").exists():
            assert len(of_this_run(place)) >= 4  # two that decode, and the server that they are forked from
        process.send_signal(number)
        process.wait(60)
        patience = time.monotonic() + 60
        while of_this_run(place):
            assert time.monotonic() < patience, "processes are left behind"
            time.sleep(0.05)
        _, said = process.communicate(timeout=30)
    return process, said


@pytest.mark.long
def test_a_run_that_is_killed_and_stopped_goes_on_with_the_same_losses(place: Path) -> None:
    run(place, "whole", long_recipe(place), threads=1)
    process, _ = signalled(place, signal.SIGKILL, BETWEEN + 10, "--workers", "2")
    assert process.returncode == -signal.SIGKILL
    reached = steps_so_far(place / "cut")
    for number, code, word, workers in (
        (signal.SIGTERM, 143, "terminated", "2"),
        (signal.SIGINT, 130, "interrupted", "0"),
    ):
        process, said = signalled(place, number, reached + 10, "--workers", workers, "--resume")
        assert process.returncode == code
        step = RunFolder(place / "cut").state()["step"]
        assert reached + 10 <= step < STEPS  # in its midst
        assert f"stopped: the checkpoint is after {6 * step:,} images; continue with --resume" in said
        assert said.splitlines()[-1] == f"facekd: {word}"
        assert "Traceback" not in said
        assert not RunFolder(place / "cut").metrics()[-1].get("finished")
        reached = step
    with started(place, "cut", "--workers", "0", "--resume") as process:
        assert process.wait() == 0
    found, whole = (RunFolder(place / name).metrics() for name in ("cut", "whole"))
    assert losses_of(found) == losses_of(whole)
    assert found[-1]["finished"]


def test_a_run_that_is_stopped_before_its_first_step_never_began(facekd, place: Path) -> None:
    long_recipe(place)
    with locked_run(place / "run"):  # another trains there
        assert facekd("distill", place / "recipe.toml", "--run", place / "run", "--workers", "0").code == 2
    with started(place, "run", "--workers", "0") as process:
        while not (place / "run" / "recipe.toml").is_file():
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert not (place / "run").exists() or RunFolder(place / "run").has("last")
