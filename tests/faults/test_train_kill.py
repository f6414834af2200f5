"""A run that is killed in the middle of an epoch goes on as if nothing had happened."""

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
from small_run import losses_of, make_place, recipe

from facekd.training import RunFolder, locked_run

ROOT = Path(__file__).parents[2]


def steps_so_far(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return max((json.loads(line).get("step", 0) for line in lines if line.endswith("}")), default=0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def long_recipe(place: Path) -> None:
    # sixteen crops in batches of six: every third batch holds the end of an epoch
    chosen = recipe(
        place,
        n=("images = 96", "images = 1200"),
        b=("batch = 8", "batch = 6"),
        e=("evaluations = 3", "evaluations = 20"),
    )
    (place / "recipe.toml").write_text(chosen.to_toml())


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


@pytest.mark.long
def test_a_killed_run_resumes_with_the_same_losses(place: Path) -> None:
    long_recipe(place)
    with started(place, "whole", "--workers", "0") as process:
        assert process.wait() == 0
    with started(place, "cut", "--workers", "0") as process:
        wait_for_step(process, place / "cut", 40)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 40 <= steps_so_far(place / "cut") < 200  # in its midst
    with started(place, "cut", "--workers", "0", "--resume") as process:
        assert process.wait() == 0
    found, whole = (RunFolder(place / name).metrics() for name in ("cut", "whole"))
    assert losses_of(found) == losses_of(whole)
    assert found[-1]["finished"]


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint(
    place: Path, number: signal.Signals, code: int, word: str
) -> None:
    long_recipe(place)
    (place / "recipe.toml").write_text(
        (place / "recipe.toml").read_text().replace("evaluations = 20", "evaluations = 1")
    )
    with started(place, "run", "--workers", "0") as process:
        wait_for_step(process, place / "run", 40)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    step = RunFolder(place / "run").state()["step"]
    assert 40 <= step < 200
    assert f"stopped: the checkpoint is after {6 * step:,} images; continue with --resume" in said
    assert said.splitlines()[-1] == f"facekd: {word}"
    assert "Traceback" not in said
    assert not RunFolder(place / "run").metrics()[-1].get("finished")


def test_a_run_that_is_stopped_before_its_first_step_never_began(place: Path) -> None:
    long_recipe(place)
    with locked_run(place / "run"), started(place, "run", "--workers", "0") as process:
        assert process.wait() == 2  # another trains there
    with started(place, "run", "--workers", "0") as process:
        while not (place / "run" / "recipe.toml").is_file():
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert not (place / "run").exists() or RunFolder(place / "run").has("last")


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc here")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_that_decode_end_with_the_one_that_trains(place: Path, number: signal.Signals) -> None:
    long_recipe(place)
    with started(place, "run", "--workers", "2") as process:
        wait_for_step(process, place / "run", 20)
        assert len(of_this_run(place)) >= 4  # two that decode, and the server that they are forked from
        process.send_signal(number)
        process.wait(60)
        patience = time.monotonic() + 60
        while of_this_run(place):
            assert time.monotonic() < patience, "processes are left behind"
            time.sleep(0.05)
        process.communicate(timeout=30)  # and nobody holds its output open
