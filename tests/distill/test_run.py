"""A run end to end on a tiny scale: targets, training, resume, baseline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_model import write_tiny_model

from facekd.card import InputSpec
from facekd.distill import Recipe, Report, read_recipe, run_recipe
from facekd.distill import run as distill_run
from facekd.distill.losses import Classes, Setting, loss_class
from facekd.distill.run import training_crops
from facekd.distill.targets import TargetCache
from facekd.distill.task import DistillTask
from facekd.errors import DeviceError, InputOutput, RecipeError, UsageError
from facekd.models import Outputs, Targets
from facekd.models.teachers import load_teacher
from facekd.training import Choice, RunFolder, load_weights
from facekd.training.data import Batch, View
from facekd.training.data.views import EpochOrder
from facekd.training.loop import gradient_shares

QUIET = Report(lambda text: None, lambda done, total: None, lambda step: None)

RECIPE = """
seed = 3
[data]
labelled = ["crops"]
heldout = "heldout.txt"
[student]
name = "plainres"
settings = {{ dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }}
{teacher}
[augmentation]
shift = 2.0
colour = 0.2
{losses}
[schedule]
images = 96
batch = 8
evaluations = 3
precision = "float32"
"""
TEACHER = '[teacher]\nmodels = ["teacher.onnx"]\n'
TWO = '[[loss]]\nname = "cosine"\n[[loss]]\nname = "logit"\nweight = 0.1\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Crops of eight "people" (a random picture each, changed a little) and a tiny teacher."""
    rng = np.random.default_rng(0)
    for person in range(8):
        base = cv2.resize(rng.integers(0, 256, (7, 7, 3), np.uint8), (112, 112))
        (tmp_path / "crops" / f"p{person}").mkdir(parents=True)
        for number in range(4):
            noise = rng.integers(-20, 20, base.shape)
            crop = (base.astype(int) + noise).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "crops" / f"p{person}" / f"{number}.png"), crop)
    (tmp_path / "heldout.txt").write_text("p4\np5\np6\np7\n")
    write_tiny_model(tmp_path / "teacher.onnx", dim=32)
    return tmp_path


def recipe(place: Path, teacher: str = TEACHER, losses: str = TWO, **changes: tuple[str, str]) -> Recipe:
    text = RECIPE.format(teacher=teacher, losses=losses)
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    file = place / "recipe.toml"
    file.write_text(text)
    return read_recipe(file)


def run(place: Path, name: str, chosen: Recipe, **settings: object) -> list[dict]:
    torch.set_num_threads(1)
    run_recipe(chosen, place / name, QUIET, cache=place / "cache", workers=0, **settings)
    return RunFolder(place / name).metrics()


def losses_of(records: list[dict]) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in records if "loss" in r]


def test_a_run_learns_and_leaves_what_it_should(place: Path) -> None:
    records = run(place, "run", recipe(place, long=("images = 96", "images = 800")))
    found = losses_of(records)
    assert found[-1][1] < 0.8 * found[0][1]
    first = next(r for r in records if "loss" in r)
    assert first["loss"] == pytest.approx(first["cosine"] + first["logit"], rel=1e-5)
    held = [r["heldout_tar_1e-3"] for r in records if "heldout_tar_1e-3" in r]
    assert len(held) == 3
    assert records[-1]["finished"] is True
    assert records[-1]["images"] == 800
    folder = place / "run"
    assert {p.name for p in folder.iterdir()} == {
        "recipe.toml", "card.json", "metrics.jsonl", "checkpoints", "train.log",
    }  # fmt: skip
    assert "16 crops" in (folder / "train.log").read_text()
    assert read_recipe(folder / "recipe.toml") == read_recipe(place / "recipe.toml")
    state = json.loads((folder / "checkpoints" / "last" / "state.json").read_text())
    assert state["step"] == 100
    assert set(load_weights(folder)) == set(load_weights(folder / "checkpoints" / "last"))
    card = json.loads((folder / "card.json").read_text())
    assert card["teacher"]["name"] == "teacher"
    assert card["provenance"]["images_seen"] == 800


@pytest.mark.parametrize("targets", ["", 'targets = "online"\n'])
def test_a_resumed_run_is_the_uninterrupted_one(place: Path, targets: str) -> None:
    chosen = recipe(place, teacher=TEACHER + targets, log=("images = 96", "images = 96"))
    whole = run(place, "whole", chosen)
    run(place, "cut", chosen, stop_after=6)
    assert RunFolder(place / "cut").load().state["step"] == 4
    resumed = run(place, "cut", chosen, resume=True)
    assert losses_of(resumed) == losses_of(whole)
    before, after = load_weights(place / "whole"), load_weights(place / "cut")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_killed_process_resumes_exactly(place: Path) -> None:
    chosen = recipe(
        place, long=("images = 96", "images = 960"), often=("evaluations = 3", "evaluations = 40")
    )
    whole = run(place, "whole", chosen)
    (place / "killed").mkdir()
    program = (
        "import sys, torch; from pathlib import Path; from facekd.distill import *;"
        "torch.set_num_threads(1);"
        "q = Report(lambda t: None, lambda d, t: None, lambda s: None);"
        "p = Path(sys.argv[1]);"
        "run_recipe(read_recipe(p / 'recipe.toml'), p / 'killed', q, cache=p / 'cache', workers=0)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(place)], env=os.environ)
    wait_until(lambda: len(list((place / "killed").glob("checkpoints/step-*"))) > 0, process)
    process.kill()
    process.wait()
    step = RunFolder(place / "killed").load().state["step"]
    assert step < 120, "the process ended before it was killed"
    resumed = run(place, "killed", chosen, resume=True)
    assert losses_of(resumed) == losses_of(whole)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the process ended by itself"
        assert time.monotonic() < deadline, "no checkpoint in time"
        time.sleep(0.02)


def test_a_changed_recipe_is_noticed(place: Path) -> None:
    run(place, "run", recipe(place), stop_after=4)
    with pytest.raises(UsageError, match="another recipe: seed, schedule changed"):
        run(
            place, "run", recipe(place, a=("seed = 3", "seed = 4"), b=("batch = 8", "batch = 4")), resume=True
        )
    with pytest.raises(UsageError, match="exists already"):
        run(place, "run", recipe(place))
    run(place, "run", recipe(place), force=True, stop_after=1)


def test_the_baseline_sees_the_same_views_without_the_teacher(place: Path) -> None:
    chosen = recipe(place)
    baseline = chosen.without_teacher()
    assert baseline.schedule == chosen.schedule
    assert baseline.augmentation == chosen.augmentation
    records = run(place, "baseline", baseline)
    assert "arcface" in records[0]
    assert json.loads((place / "baseline" / "card.json").read_text())["teacher"] is None


def test_cached_targets_are_the_teachers_own_and_are_asked_for_once(place: Path) -> None:
    chosen = recipe(place)
    crops = training_crops(chosen)
    assert len(crops) == 16
    teacher = load_teacher(place / "teacher.onnx")
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)
    assert cache.missing(range(2)) == 32
    cache.fill(range(2), workers=0, batch=5)
    assert cache.missing(range(2)) == 0
    for number in range(2):
        rows = cache.rows(number, torch.tensor([15, 0, 7])).numpy()
        for row, crop in zip(rows, (15, 0, 7), strict=True):
            view = chosen.augmentation.view(crops.read(crop), (chosen.seed, crop, number))
            expected = teacher.targets(view[None]).embedding.numpy()[0]
            assert np.abs(row - expected).max() < 5e-4  # float16
    asked: list[int] = []
    again = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)
    again.fill(range(2), workers=0, tell=asked.append)
    assert not asked
    other = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed + 1)
    assert other.key != cache.key


def test_a_fill_that_was_cut_short_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facekd.distill.targets._BLOCK", 6)
    chosen = recipe(place)
    crops, teacher = training_crops(chosen), load_teacher(place / "teacher.onnx")
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)

    class Stop(Exception):
        pass

    def stop(done: int, seen: list[int] = []) -> None:  # noqa: B006
        seen.append(done)
        if sum(seen) >= 10:
            raise Stop

    with pytest.raises(Stop):
        cache.fill(range(1), workers=0, batch=4, tell=stop)
    assert 0 < cache.missing(range(1)) < 16
    cache.fill(range(1), workers=0, batch=4)
    whole = TargetCache(place / "other", teacher, crops, chosen.augmentation, chosen.seed)
    whole.fill(range(1), workers=0)
    everything = torch.arange(16)
    assert torch.allclose(cache.rows(0, everything), whole.rows(0, everything), atol=1e-3)


def test_a_view_number_past_an_epochs_end_gets_its_own_target(place: Path) -> None:
    from facekd.distill.sight import _cached
    from facekd.training.data import ViewLoader

    chosen = recipe(place)
    crops, teacher = training_crops(chosen), load_teacher(place / "teacher.onnx")
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, chosen.seed)
    cache.fill(range(2), workers=0)
    views = [View(5, 0, False), View(5, 1, False)]
    batch = next(ViewLoader(crops, chosen.augmentation, chosen.seed, 2, 0).batches(views))
    found = _cached(cache)(batch).embedding
    expected = teacher.targets(batch.views.numpy()).embedding
    assert torch.allclose(found, expected, atol=5e-4)
    assert not torch.allclose(found[0], found[1], atol=5e-4)


def test_smaller_views_first(place: Path) -> None:
    chosen = recipe(place, small=("[schedule]", "[schedule]\nstart_size = 64\nstart_share = 0.5"))
    assert losses_of(run(place, "run", chosen))
    iresnet = recipe(
        place,
        net=('name = "plainres"\nsettings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }',
             'name = "iresnet18"'),
        small=("[schedule]", "[schedule]\nstart_size = 64"),
    )  # fmt: skip
    with pytest.raises(UsageError, match="112 pixels only"):
        run(place, "other", iresnet)


def test_all_faults_of_a_recipe_are_listed_at_once(place: Path) -> None:
    file = place / "bad.toml"
    file.write_text(
        '[data]\nlabeled = ["x"]\n[[loss]]\nname = "cosine"\nsettings = { mach = 1 }\n'
        '[[loss]]\nname = "hinton"\n[schedule]\nimages = 0\nrate = "fast"\n'
    )
    with pytest.raises(RecipeError) as error:
        read_recipe(file)
    for part in ("data.labeled: no such setting", "schedule.images", "schedule.rate"):
        assert part in error.value.cause
    file.write_text(
        '[data]\n[[loss]]\nname = "cosine"\nsettings = { mach = 1 }\n'
        '[[loss]]\nname = "hinton"\n[schedule]\nimages = 9\n'
    )
    with pytest.raises(RecipeError) as error:
        read_recipe(file)
    for part in (
        "name at least one folder",
        "no setting 'mach'",
        "no loss is named 'hinton'",
        "needs a [teacher]",
    ):
        assert part in error.value.cause
    file.write_text("not = [toml")
    with pytest.raises(RecipeError, match="not TOML"):
        read_recipe(file)
    with pytest.raises(InputOutput, match="cannot be read"):
        read_recipe(place / "none.toml")


def test_missing_data_and_devices_are_named(place: Path) -> None:
    chosen = recipe(place, gone=("crops", "nowhere"))
    with pytest.raises(InputOutput, match="nowhere"):
        run(place, "run", chosen)
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="cuda"):
            run(place, "run2", recipe(place), device="cuda")
    with pytest.raises(DeviceError, match="gpu"):
        run(place, "run2", recipe(place), device="gpu")
    (place / "heldout.txt").write_text("p6\np7\n")
    with pytest.raises(RecipeError, match="at least two identities"):
        run(place, "run4", recipe(place))
    (place / "heldout.txt").write_text("p4\np5\np6\np7\n")
    with pytest.raises(UsageError, match="make no step"):
        run(place, "run3", recipe(place, few=("images = 96", "images = 5")))
    # none of them left a folder that would stand in the way of the next try
    assert not [p.name for p in place.glob("run*")]


def test_the_share_of_each_part_in_the_gradient_is_logged(place: Path) -> None:
    records = run(place, "run", recipe(place), stop_after=2)
    shares = next(r["gradient_share"] for r in records if "gradient_share" in r)
    assert set(shares) == {"cosine", "logit"}
    assert sum(shares.values()) == pytest.approx(1)


def test_shares_are_norms_of_each_parts_own_gradient() -> None:
    network = torch.nn.Linear(3, 1, bias=False)
    x = torch.tensor([[1.0, 2.0, 2.0]])
    apart = torch.ones((), requires_grad=True) * 1
    terms = {"one": 2 * network(x).sum(), "other": (network(x) * 6).sum(), "none": apart}
    shares = gradient_shares(terms, network)
    assert shares == {"one": pytest.approx(0.25), "other": pytest.approx(0.75), "none": 0.0}
    terms["one"].backward()  # the graph is still there


def test_bf16_reaches_the_network_and_a_resumed_run_keeps_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[bool] = set()
    step = DistillTask.step

    def watched(self: DistillTask, *given: Any) -> Any:
        seen.add(torch.is_autocast_enabled("cpu"))
        return step(self, *given)

    monkeypatch.setattr(DistillTask, "step", watched)
    run(place, "plain", recipe(place), stop_after=2)
    assert seen == {False}
    seen.clear()
    chosen = recipe(place, auto=('precision = "float32"', 'precision = "auto"'))
    monkeypatch.setattr(distill_run, "choose_precision", lambda *_: Choice("bf16", 2.0))
    run(place, "half", chosen, stop_after=4)
    assert seen == {True}
    assert "bf16, 2.0 times as fast as float32 here" in (place / "half" / "train.log").read_text()
    monkeypatch.setattr(distill_run, "choose_precision", lambda *_: Choice("float32", 0.9))
    seen.clear()
    run(place, "half", chosen, resume=True)
    assert seen == {True}
    assert json.loads((place / "half/checkpoints/last/state.json").read_text())["precision"] == "bf16"


METHODS = {
    "mse": (),
    "one_vs_rest": (),
    "dkd": (),
    "gkd": (),
    "dist": (),
    "prototypes": (),
    "adadistill": (),
    "rkd": ("rkd_distance", "rkd_angle"),
    "sp": (),
    "pkt": (),
    "cckd": (),
    "ekd": (),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_from_a_recipe_and_resumes(place: Path, name: str) -> None:
    losses = f'[[loss]]\nname = "{name}"\n'
    chosen = recipe(place, losses=losses, long=("images = 96", "images = 480"))
    run(place, "run", chosen, stop_after=40)
    records = run(place, "run", chosen, resume=True)
    found = [r for r in records if "loss" in r]
    for term in METHODS[name] or (name,):
        assert found[-1][term] < found[0][term], term
    assert found[-1]["step"] == 60


@pytest.mark.parametrize("name", ["fitnet", "attention"])
def test_maps_of_a_torch_teacher_teach(place: Path, name: str) -> None:
    arcface = '[[loss]]\nname = "arcface"\n'
    run(place, "large", recipe(place, teacher="", losses=arcface, n=("images = 96", "images = 16")))
    teacher = f'[teacher]\nmodels = ["{place / "large"}"]\ntargets = "online"\n'
    chosen = recipe(place, teacher, f'[[loss]]\nname = "{name}"\n', long=("images = 96", "images = 480"))
    found = [r for r in run(place, "small", chosen) if "loss" in r]
    assert found[-1][name] < found[0][name]
    with pytest.raises(RecipeError, match=r"needs feature maps: teacher.targets = .online"):
        recipe(place, TEACHER, f'[[loss]]\nname = "{name}"\n')
    mapless = recipe(place, TEACHER + 'targets = "online"\n', f'[[loss]]\nname = "{name}"\n')
    with pytest.raises(RecipeError, match="this teacher gives no feature maps"):
        run(place, "none", mapless)


def test_a_student_started_from_a_larger_run_stays_near_it(place: Path) -> None:
    arcface = '[[loss]]\nname = "arcface"\n'
    wide = ("widths = [8, 8, 16, 16]", "widths = [12, 8, 24, 32]")
    run(place, "large", recipe(place, teacher="", losses=arcface, n=("images = 96", "images = 16"), w=wide))
    large = load_weights(place / "large")
    settings = "settings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }"
    start = (settings, f'{settings}\nstart = "large"')
    near = '[[loss]]\nname = "cosine"\n[[loss]]\nname = "l2_sp"\nsettings = { alpha = 100.0 }\n'
    stayed = recipe(place, losses=near, s=start)
    went = recipe(place, losses='[[loss]]\nname = "cosine"\n', s=start)
    apart = {}
    for name, chosen in (("stayed", stayed), ("went", went)):
        run(place, name, chosen, stop_after=6)
        run(place, name, chosen, resume=True)  # the start is found again, not the checkpoint
        weights = load_weights(place / name, "last")["stage3.0.0.weight"]
        rows, columns = torch.linspace(0, 23, 16).round().long(), torch.arange(8)
        begun = large["stage3.0.0.weight"][rows][:, columns]
        apart[name] = float((weights - begun).norm() / begun.norm())
    assert apart["stayed"] < 0.7 * apart["went"]
    assert "tensors begin as in large" in (place / "went" / "train.log").read_text()
    lost = recipe(place, losses=near)
    with pytest.raises(RecipeError, match=r"needs a student that was started"):
        run(place, "lost", lost)


def test_batches_of_people_and_a_cap_from_a_recipe(place: Path) -> None:
    sampling = ("[schedule]", "[sampling]\npeople = 4\ncrops = 2\n[schedule]")
    records = run(place, "run", recipe(place, s=sampling))
    assert records[-1]["images"] == 96
    assert records[-1]["distinct_views"] <= 16 * 2 * 2  # 16 crops, two views, mirrors
    text = (place / "recipe.toml").read_text()
    (place / "recipe.toml").write_text(text.replace("crops = 2", "crops = 3"))
    with pytest.raises(RecipeError, match="4 people with 3 crops are no batch of 8"):
        read_recipe(place / "recipe.toml")
    capped = recipe(place, c=('heldout = "heldout.txt"', 'heldout = "heldout.txt"\ncap = 2'))
    assert len(training_crops(capped)) == 8


def test_distinct_views_are_counted_one_by_one(place: Path) -> None:
    """Six epochs of 16 crops in two cached views: each view three times, mirrored or not."""
    records = run(place, "run", recipe(place))
    order = EpochOrder(16, 2, 3, True)
    assert records[-1]["distinct_views"] == len({order.at(position) for position in range(96)})


def test_mixed_views_are_shown_to_the_teacher_itself(place: Path) -> None:
    mixing = ("[schedule]", "[mixing]\np_mixup = 0.5\np_cutmix = 0.3\n[schedule]")
    with pytest.raises(RecipeError, match="only the teacher itself knows a mixed view"):
        recipe(place, m=mixing)
    chosen = recipe(place, TEACHER + 'targets = "online"\n', m=mixing)
    whole = run(place, "whole", chosen)
    run(place, "cut", chosen, stop_after=6)
    assert losses_of(run(place, "cut", chosen, resume=True)) == losses_of(whole)
    assert not chosen.without_teacher().mixing.active


def test_views_that_moved_too_far_teach_nothing(place: Path) -> None:
    far = ("shift = 2.0", "shift = 20.0\nrotate = 40.0")
    plain = '[[loss]]\nname = "cosine"\n'
    chosen = recipe(place, TEACHER + "views = 2\ngate = 0.3\n", plain, f=far)
    run(place, "run", chosen, stop_after=1)
    teacher, crops = load_teacher([str(place / "teacher.onnx")]), training_crops(chosen)
    cache = TargetCache(place / "cache", teacher, crops, chosen.augmentation, 3)
    cache.fill(range(2), workers=0)
    everything = torch.arange(16)
    own, moved = cache.rows(0, everything), cache.rows(1, everything)
    gate = float((own * moved).sum(1).median())
    kept = torch.nn.functional.cosine_similarity(own, moved) >= gate
    assert 0 < kept.sum() < 16  # otherwise the test shows nothing

    class Still(torch.nn.Module):
        input = InputSpec()

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(32))

        def outputs(self, planes: torch.Tensor, features: bool = False) -> Outputs:
            return Outputs(self.weight.expand(len(planes), 32))

    loss = loss_class("cosine")(Setting(32, 32, Classes(torch.tensor([-1]), torch.empty(0, 32)), own))
    views = torch.zeros(16, 112, 112, 3, dtype=torch.uint8)
    nothing = torch.zeros(16, dtype=torch.int64)
    batch = Batch(views, everything, nothing + 1, nothing > 0, nothing - 1)
    task = DistillTask(Still(), [(1.0, loss)], lambda b: Targets(moved), lambda crops: own[crops], gate=gate)
    direction = torch.ones(32) / 32**0.5
    expected = (1 - torch.nn.functional.normalize(moved[kept], dim=1) @ direction).mean()
    assert task.step(batch, 0.0).loss.item() == pytest.approx(expected.item(), rel=1e-4)
    closed = DistillTask(Still(), [(1.0, loss)], lambda b: Targets(-own), lambda crops: own[crops], gate=gate)
    result = closed.step(batch, 0.0)
    result.loss.backward()
    assert closed.student.weight.grad.abs().sum() == 0


def test_clusters_of_unlabelled_crops_serve_logit_losses(place: Path) -> None:
    unlabelled = ('labelled = ["crops"]\nheldout = "heldout.txt"', 'unlabelled = ["crops"]')
    losses = '[[loss]]\nname = "prototypes"\n'
    with pytest.raises(RecipeError, match="needs labelled data"):
        recipe(place, losses=losses, u=unlabelled)
    pseudo = ("[schedule]", "[pseudo]\nclusters = 8\ngate = 0.2\n[schedule]")
    chosen = recipe(place, losses=losses, u=unlabelled, p=pseudo)
    found = losses_of(run(place, "run", chosen))
    assert found[-1][1] < found[0][1]
    assert "with clusters: 32 crops:" in (place / "run" / "train.log").read_text()
    assert chosen.model_copy(update={"data": recipe(place).data}).without_teacher().pseudo.clusters == 0
