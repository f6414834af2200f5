"""A run that is killed in the middle of an epoch goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from small_run import losses_of, make_place, recipe

from facekd.training import RunFolder

ROOT = Path(__file__).parents[2]


def steps_so_far(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return max((json.loads(line).get("step", 0) for line in lines if line.endswith("}")), default=0)


def test_a_killed_run_resumes_with_the_same_losses(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    # sixteen crops in batches of six: every third batch holds the end of an epoch
    chosen = recipe(
        place,
        n=("images = 96", "images = 1200"),
        b=("batch = 8", "batch = 6"),
        e=("evaluations = 3", "evaluations = 20"),
    )
    (place / "recipe.toml").write_text(chosen.to_toml())
    command = [sys.executable, "-m", "facekd", "distill", str(place / "recipe.toml"), "--run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["FACEKD_CACHE"] = str(place)
    options = ["--workers", "0", "--threads", "1"]
    subprocess.run([*command, "whole", *options], cwd=place, env=environment, check=True)
    with subprocess.Popen([*command, "cut", *options], cwd=place, env=environment) as process:
        patience = time.monotonic() + 120
        while steps_so_far(place / "cut") < 40 and process.poll() is None:
            assert time.monotonic() < patience
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 40 <= steps_so_far(place / "cut") < 200  # in its midst
    done = subprocess.run([*command, "cut", *options, "--resume"], cwd=place, env=environment, check=False)
    assert done.returncode == 0
    found, whole = (RunFolder(place / name).metrics() for name in ("cut", "whole"))
    assert losses_of(found) == losses_of(whole)
    assert found[-1]["finished"]
