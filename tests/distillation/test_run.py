"""A run end to end on a tiny scale: training, resume, precision, baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import TEACHER, losses_of, recipe, run

from facekd.distillation import read_recipe
from facekd.distillation import run as distill_run
from facekd.distillation.task import DistillTask
from facekd.errors import UsageError
from facekd.preprocess import source_digest
from facekd.training import Choice, RunFolder, load_learned, load_weights
from facekd.training.loop import gradient_shares


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
    assert "heldout_interval" in records[-1]
    folder = place / "run"
    assert {p.name for p in folder.iterdir()} - {"tensorboard"} == {
        "recipe.toml", "card.json", "classes.txt", "metrics.jsonl", "checkpoints", "train.log", ".lock",
    }  # fmt: skip
    assert "16 crops" in (folder / "train.log").read_text()
    assert read_recipe(folder / "recipe.toml") == read_recipe(place / "recipe.toml")
    state = json.loads((folder / "checkpoints" / "last" / "state.json").read_text())
    assert state["step"] == 100
    assert set(load_weights(folder)) == set(load_weights(folder / "checkpoints" / "last"))
    card = json.loads((folder / "card.json").read_text())
    assert card["teacher"]["name"] == "teacher"
    assert card["provenance"]["packs"] == [{"name": "crops", "digest": source_digest(place / "crops")}]
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


def test_a_resumed_run_compares_with_the_same_classes(place: Path) -> None:
    some = '[[loss]]\nname = "arcface"\nsettings = { sample = 0.75 }\n'  # three of four
    small = {"b": ("batch = 8", "batch = 2"), "n": ("images = 96", "images = 24")}
    chosen = recipe(place, "", some, look=("evaluations = 3", "evaluations = 12"), **small)
    whole = run(place, "whole", chosen)
    run(place, "cut", chosen, stop_after=5)
    torch.rand(7)
    assert losses_of(run(place, "cut", chosen, resume=True)) == losses_of(whole)


def test_a_changed_recipe_is_noticed(place: Path) -> None:
    run(place, "run", recipe(place), stop_after=4)
    other = recipe(place, a=("seed = 3", "seed = 4"), b=("batch = 8", "batch = 4"))
    with pytest.raises(
        UsageError, match=r"another recipe: seed 3 -> 4, schedule.batch 8 -> 4\n.*own recipe.toml"
    ):
        run(place, "run", other, resume=True)
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


def test_smaller_views_first(place: Path) -> None:
    chosen = recipe(place, small=("[schedule]", "[schedule]\nstart_size = 64\nstart_share = 0.5"))
    assert losses_of(run(place, "run", chosen))
    with pytest.raises(UsageError, match="112 pixels only"):
        recipe(
            place,
            net=('name = "plainres"\nsettings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }',
                 'name = "iresnet18"'),
            small=("[schedule]", "[schedule]\nstart_size = 64"),
        )  # fmt: skip


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


def test_a_run_whose_rate_stays_is_extended_from_before_its_fall(place: Path) -> None:
    wsd = 'precision = "float32"\nshape = "wsd"\ncooldown = 0.25\nrate = 0.01'
    stays = {"shape": ('precision = "float32"', wsd)}
    short = recipe(place, **stays)
    run(place, "run", short)
    folder = RunFolder(place / "run")
    assert (folder.state("stable")["step"], folder.state("last")["step"]) == (9, 12)
    longer = recipe(place, long=("images = 96", "images = 192"), **stays)
    extended = run(place, "run", longer, resume=True)
    assert read_recipe(place / "run" / "recipe.toml").schedule.images == 192
    # the same as if it had been so long from the start, but for the warm-up, a share of the whole
    rates = {r["step"]: r["rate"] for r in extended if "rate" in r}
    assert (rates[16], rates[18], rates[24]) == (0.01, 0.01, pytest.approx(0.01 / 6))
    assert folder.state("last")["step"] == 24
    with pytest.raises(UsageError, match=r"144 images that .* has seen"):
        run(place, "run", short, resume=True)


def test_a_run_in_its_fall_goes_on_falling(place: Path) -> None:
    wsd = 'precision = "float32"\nshape = "wsd"\ncooldown = 0.5'
    chosen = recipe(
        place, shape=('precision = "float32"', wsd), looks=("evaluations = 3", "evaluations = 12")
    )
    whole = losses_of(run(place, "whole", chosen))
    run(place, "cut", chosen, stop_after=9)
    assert losses_of(run(place, "cut", chosen, resume=True)) == whole


def test_a_run_goes_on_with_the_whole_of_another(place: Path) -> None:
    """Head and projector are taken over: with a rate of almost zero, student and loss stay as they were."""
    student = ('name = "plainres"', 'name = "plainres"\nstart = "first"\nstart_by = "whole"')
    still = ('precision = "float32"', 'precision = "float32"\nrate = 1e-12\nwarmup = 0.0')
    run(place, "first", recipe(place))
    run(place, "second", recipe(place, student=student, still=still), stop_after=4)
    kept = [load_learned(place / name, "last") for name in ("first", "second")]
    assert any("projector" in name for name in kept[0])
    for before, after in (kept, [load_weights(place / name, "last") for name in ("first", "second")]):
        assert before.keys() == after.keys()
        learned = [name for name in before if "running" not in name and "batches" not in name]
        assert all(torch.allclose(before[name], after[name], atol=1e-7) for name in learned)
    first, second = (json.loads((place / name / "card.json").read_text()) for name in ("first", "second"))
    begun = first["provenance"]["images_seen"]
    assert second["provenance"]["start"] == {"name": "first", "images_seen": begun}
    assert second["provenance"]["images_seen"] == 2 * begun
    assert second["provenance"]["packs"] == first["provenance"]["packs"]
    said = (place / "second" / "train.log").read_text()
    assert "0 at random" in said
    assert "tensors of the losses continue" in said
