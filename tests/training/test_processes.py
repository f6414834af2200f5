"""Two processes do what one does, and speak with one voice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import TEACHER, make_place, recipe

from facekd.models import build_model
from facekd.training import RunFolder, load_weights

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

#: losses of single crops, of crops that have a class, and of the whole batch
LOSSES = ("cosine", "arcface", "logit", "prototypes", "adadistill", "dist", "rkd", "sp", "pkt", "cckd", "ekd")


def started(command: list[str], where: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, timeout=500)


def test_two_processes_step_as_one(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    for name in LOSSES:
        changes = {
            "short": ("images = 96", "images = 24"),
            "look": ("evaluations = 3", 'evaluations = 1\noptimizer = "sgd"\nrate = 0.05'),
        }
        stated = recipe(place, TEACHER, f'[[loss]]\nname = "{name}"\n', **changes).to_toml()
        # the network that the script registers
        (place / f"{name}.toml").write_text(stated.replace('name = "plainres"', 'name = "frozen"'))
    (place / "recipe.toml").unlink()
    script = str(HERE / "shared_steps.py")
    for command, which in (([sys.executable], "one"), (TORCHRUN, "two")):
        done = started([*command, script, str(place), which], place)
        assert done.returncode == 0, done.stderr
    torch.manual_seed(3)  # the recipe's
    start = weights(build_model("plainres", dim=16, widths=[8, 8, 16, 16], depths=[0, 0, 0, 0]).state_dict())
    for name in LOSSES:
        steps_agree(place, name, start)


def steps_agree(place: Path, name: str, start: torch.Tensor) -> None:
    """The runs of one process and of two, with the loss ``name``: losses, weights, state of losses."""
    one, two = (RunFolder(place / which / name) for which in ("one", "two"))
    found = [[r["loss"] for r in run.metrics() if "loss" in r] for run in (one, two)]
    assert len(found[0]) == len(found[1]) == 2, name  # the first step and the last of three
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-6), name
    assert found[0][1] != pytest.approx(found[0][0], rel=1e-3), name  # there was something to learn
    mine, theirs = (weights(load_weights(run.path, "last")) for run in (one, two))
    # steps that two processes made of halves of the same batches, in another order of sums
    assert float((mine - theirs).norm()) <= 1e-3 * float((mine - start).norm()), name
    learned = [run.load("last").task for run in (one, two)]
    for key, value in learned[0].items():
        assert torch.allclose(learned[1][key], value, rtol=1e-3, atol=1e-5), (name, key)


def weights(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """All numbers that a step moves, in one row."""
    return torch.cat([state[k].flatten().double() for k in sorted(state) if k.endswith(("weight", "bias"))])


def test_torchrun_needs_no_other_recipe_and_one_process_speaks(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    chosen = recipe(place)
    (place / "recipe.toml").write_text(chosen.to_toml())
    command = [*TORCHRUN, "-m", "--", "facekd", "distill", "recipe.toml", "--run", "run", "--workers", "0"]
    done = started(command, place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("images seen    96") == 1
    assert "2 processes of 1 threads" in done.stderr
    run = RunFolder(place / "run")
    assert [r["step"] for r in run.metrics() if "loss" in r] == [1, 4, 8, 12]
    assert [r["step"] for r in run.metrics() if "heldout_tar_1e-3" in r] == [4, 8, 12]
    again = started(command, place)
    assert again.returncode != 0
    assert "run exists already" in again.stderr
    (place / "recipe.toml").write_text(chosen.to_toml().replace("batch = 8", "batch = 9"))
    odd = started([*command, "--force"], place)
    assert "a batch of 9 cannot be shared by 2 processes" in odd.stderr
