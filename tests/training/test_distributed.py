"""Two processes do what one does, and speak with one voice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import TEACHER, losses_of, make_place, recipe, run

from facekd.distillation import read_recipe
from facekd.errors import UsageError
from facekd.models import build_model
from facekd.training import RunFolder, load_weights
from facekd.training.rng import seed_draws

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

#: losses of single crops, of crops that have a class, and of the whole batch
LOSSES = ("cosine", "arcface", "logit", "prototypes", "adadistill", "dist", "rkd", "sp", "pkt", "cckd", "ekd")


def started(command: list[str], where: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, timeout=500)


def well_done(command: list[str], where: Path) -> subprocess.CompletedProcess[str]:
    done = started(command, where)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the jobs of `many_jobs.py` need, with their recipes."""
    folder = tmp_path_factory.mktemp("jobs")
    for name in ("losses", "resumed", "nodes"):
        (folder / name).mkdir()
        make_place(folder / name)
    for name in LOSSES:
        changes = {
            "short": ("images = 96", "images = 24"),
            "look": ("evaluations = 3", 'evaluations = 1\noptimizer = "sgd"\nrate = 0.05'),
        }
        stated = recipe(folder / "losses", TEACHER, f'[[loss]]\nname = "{name}"\n', **changes).to_toml()
        # the network that the script registers
        (folder / "losses" / f"{name}.toml").write_text(
            stated.replace('name = "plainres"', 'name = "frozen"')
        )
    (folder / "losses" / "recipe.toml").unlink()
    recipe(
        folder / "resumed",
        TEACHER + 'targets = "online"\n',
        losses='[[loss]]\nname = "cosine"\n',
        mixed=("[schedule]", "[mixing]\np_mixup = 0.5\np_cutmix = 0.4\n[schedule]"),
        look=("evaluations = 3", "evaluations = 12"),
    )
    nodes = folder / "nodes"
    chosen = recipe(nodes)
    run(nodes, "own-0", chosen, stop_after=9)
    run(nodes, "own-1", chosen, stop_after=4)
    shutil.rmtree(nodes / "cache")
    return folder


@pytest.fixture(scope="module")
def alone(places: Path) -> subprocess.CompletedProcess[str]:
    """What one process does of it."""
    return well_done([sys.executable, str(HERE / "many_jobs.py"), str(places), "one"], places)


@pytest.fixture(scope="module")
def together(places: Path) -> subprocess.CompletedProcess[str]:
    """What two processes do."""
    return well_done([*TORCHRUN, str(HERE / "many_jobs.py"), str(places), "two"], places)


@pytest.mark.long
@pytest.mark.usefixtures("alone", "together")
def test_two_processes_step_as_one(places: Path) -> None:
    torch.manual_seed(3)  # the recipe's
    start = weights(build_model("plainres", dim=16, widths=[8, 8, 16, 16], depths=[0, 0, 0, 0]).state_dict())
    for name in LOSSES:
        steps_agree(places / "losses", name, start)


def steps_agree(place: Path, name: str, start: torch.Tensor) -> None:
    """The runs of one process and of two, with the loss ``name``: losses, weights, state of losses."""
    one, two = (RunFolder(place / which / name) for which in ("one", "two"))
    found = [[r["loss"] for r in run.metrics() if "loss" in r] for run in (one, two)]
    assert len(found[0]) == len(found[1]) == 2, name  # the first step and the last of three
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-6), name
    assert found[0][1] != pytest.approx(found[0][0], rel=1e-3), name  # there was something to learn
    mine, theirs = (weights(load_weights(run.path, "last")) for run in (one, two))
    # three steps that two processes made of halves of the same batches, in another order of sums
    assert float((mine - theirs).norm()) <= 3e-3 * float((mine - start).norm()), name
    learned = [run.load("last").task for run in (one, two)]
    for key, value in learned[0].items():
        assert torch.allclose(learned[1][key], value, rtol=1e-3, atol=1e-5), (name, key)


def weights(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """All numbers that a step moves, in one row."""
    return torch.cat([state[k].flatten().double() for k in sorted(state) if k.endswith(("weight", "bias"))])


@pytest.mark.long
@pytest.mark.usefixtures("together")
def test_two_resumed_processes_draw_what_they_would_have_drawn(places: Path) -> None:
    place = places / "resumed"
    assert RunFolder(place / "cut" / "recipe").load().state["step"] == 5
    well_done([*TORCHRUN, str(HERE / "shared_steps.py"), str(place), "cut:resume"], place)
    whole, cut = (losses_of(RunFolder(place / name / "recipe").metrics()) for name in ("whole", "cut"))
    steps = read_recipe(place / "recipe.toml").schedule.steps
    assert [step for step, _ in whole] == list(range(1, 13)) == [k + 1 for k in range(steps)]
    assert cut == whole


def test_what_a_step_draws_is_its_own() -> None:
    def drawn(*given: int) -> list[float]:
        torch.rand(3)  # whatever was drawn before
        seed_draws(*given)
        return torch.rand(4).tolist()

    first = drawn(3, 7, 0)
    assert drawn(3, 7, 0) == first
    others = [drawn(3, 7, 1), drawn(3, 8, 0), drawn(4, 7, 0), drawn(7, 3, 0)]
    assert all(set(first).isdisjoint(other) for other in others)


@pytest.mark.long
@pytest.mark.usefixtures("alone", "together")
def test_two_processes_behind_a_gate_step_as_one(places: Path) -> None:
    one, two = (torch.load(places / name) for name in ("one.pt", "two.pt"))
    assert one.keys() == two.keys()
    for case, expected in one.items():
        found = two[case]
        assert found["names"] == expected["names"] * 2, case
        assert found["terms"] == pytest.approx(expected["terms"], rel=1e-4, abs=1e-6), case
        for kind in ("gradients", "buffers"):
            for key, value in expected[kind].items():
                assert torch.allclose(found[kind][key], value, rtol=1e-3, atol=1e-6), (case, key)
        moved = sum(float(g.norm()) for g in expected["gradients"].values())
        assert (moved == 0) == case.startswith(("one view", "none")), case
        # each term by its own name, whatever the gate left
        assert expected["names"] == one["all" + case[case.index(":") :]]["names"], case
    for name in ("cosine", "fitnet"):
        apart = {k: v["terms"][name] for k, v in one.items() if k.endswith(f": {name}")}
        assert len(set(apart.values())) == len(apart) - 1  # but for one view and none, which are both 0


@pytest.mark.long
@pytest.mark.usefixtures("together")
def test_processes_that_see_other_disks_all_say_so(places: Path) -> None:
    place = places / "nodes"
    for name, what in (("fresh", "run folder"), ("older", "run folder"), ("targets", "teacher's targets in")):
        for number in (0, 1):
            told = (place / f"{name}-{number}.txt").read_text()
            assert re.search(rf"process 1, on \S+, does not see the {what} ", told), told
            assert "need one shared disk" in told
    assert not (place / "run").exists()  # it never began
    assert RunFolder(place / "own-0").load().state["step"] == 8  # and nothing went on


@pytest.mark.long
def test_torchrun_needs_no_other_recipe_and_one_process_speaks(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    chosen = recipe(place)
    (place / "recipe.toml").write_text(chosen.to_toml())
    command = [*TORCHRUN, "-m", "--", "facekd", "distill", "recipe.toml", "--run", "run", "--workers", "0"]
    done = well_done(command, place)
    assert done.stdout.count("images seen    96") == 1
    assert "2 processes of 1 threads" in done.stderr
    run = RunFolder(place / "run")
    assert [r["step"] for r in run.metrics() if "loss" in r] == [1, 4, 8, 12]
    assert [r["step"] for r in run.metrics() if "heldout_tar_1e-3" in r] == [4, 8, 12]


@pytest.mark.long
def test_two_processes_refuse_a_run_that_is_there(
    together: subprocess.CompletedProcess[str], places: Path
) -> None:
    assert [(places / f"again-{number}.txt").read_text() for number in (0, 1)] == ["2", "2"]
    assert "own-0 exists already" in together.stderr


def test_a_batch_that_cannot_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = recipe(make_place(tmp_path), odd=("batch = 8", "batch = 9"))
    monkeypatch.setattr("facekd.training.loop.processes", lambda: 2)
    with pytest.raises(UsageError, match="a batch of 9 cannot be divided among 2 processes"):
        run(tmp_path, "run", chosen)
