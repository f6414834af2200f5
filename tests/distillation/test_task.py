"""What a step shows its losses: mixed views, and those that a gate holds back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from small_run import TEACHER, losses_of, recipe, run

from facekd.card.contract import InputSpec
from facekd.distillation import training_crops
from facekd.distillation.losses import Classes, Setting, loss_class
from facekd.distillation.target_cache import TargetCache
from facekd.distillation.task import DistillTask, Gate
from facekd.distillation.weighted_loss import WeightedLoss
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets
from facekd.models.teachers import load_teacher
from facekd.training import Augmentation
from facekd.training.data import Batch


def test_mixed_views_are_shown_to_the_teacher_itself(place: Path) -> None:
    for kind in ("p_mixup", "p_cutmix", "p_cutpaste"):
        with pytest.raises(RecipeError, match="mixed samples need targets at every step"):
            recipe(place, m=("[schedule]", f"[mixing]\n{kind} = 0.1\n[schedule]"))
    shares = "p_mixup = 0.4\np_cutmix = 0.2\np_cutpaste = 0.3"
    mixing = ("[schedule]", f"[mixing]\n{shares}\n[schedule]")
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
    unmoved = TargetCache(place / "cache", teacher, crops, Augmentation(), 3)
    assert unmoved.missing(range(1)) == 0  # the run asked what the teacher says of the crops themselves
    views = TargetCache(place / "cache", teacher, crops, chosen.augmentation, 3)
    views.fill(range(2), workers=0)
    everything = torch.arange(16)
    clean, moved = unmoved.rows(0, everything), views.rows(1, everything)
    least = float((clean * moved).sum(1).median())
    gate = Gate(least, lambda crops: clean[crops])
    kept = torch.nn.functional.cosine_similarity(clean, moved) >= least
    assert 0 < kept.sum() < 16  # otherwise the test shows nothing

    class Still(torch.nn.Module):
        input = InputSpec()

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(32))

        def outputs(self, planes: torch.Tensor, features: bool = False) -> Outputs:
            return Outputs(self.weight.expand(len(planes), 32))

    loss = loss_class("cosine")(Setting(32, 32, Classes(torch.tensor([-1]), torch.empty(0, 32)), moved))
    black = torch.zeros(16, 112, 112, 3, dtype=torch.uint8)
    nothing = torch.zeros(16, dtype=torch.int64)
    batch = Batch(black, everything, nothing + 1, nothing > 0, nothing - 1)
    task = DistillTask(Still(), [WeightedLoss(loss)], lambda b: Targets(moved), gate=gate)
    direction = torch.ones(32) / 32**0.5
    expected = (1 - torch.nn.functional.normalize(moved[kept], dim=1) @ direction).mean()
    result = task.step(batch, 0.0)
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert torch.equal(result.embeddings, torch.ones(16, 32))  # of all views, shown to a loss or not
    assert not result.embeddings.requires_grad
    closed = DistillTask(Still(), [WeightedLoss(loss)], lambda b: Targets(-clean), gate=gate)
    result = closed.step(batch, 0.0)
    result.loss.backward()
    assert closed.student.weight.grad.abs().sum() == 0
    assert {name: value.item() for name, value in result.terms.items()} == {"cosine": 0}


def test_a_gate_looks_at_the_crop_itself_from_the_first_epoch_on(place: Path) -> None:
    cosine = '[[loss]]\nname = "cosine"\n'

    def losses(gate: str, *changes: tuple[str, str]) -> list[float]:
        chosen = recipe(place, TEACHER + gate, cosine, **{str(k): change for k, change in enumerate(changes)})
        shutil.rmtree(place / "run", ignore_errors=True)
        return [loss for _, loss in losses_of(run(place, "run", chosen, stop_after=2))]

    far, near = ("shift = 2.0", "shift = 20.0\nrotate = 40.0"), ("shift = 2.0\ncolour = 0.2", "")
    for targets in ("", 'targets = "online"\n'):
        assert losses(targets + "gate = 0.9999\n", far) == [0]  # all held back
        assert losses(targets, far)[0] > 0
        unmoved = ("seed = 3", "seed = 3\nmirror = false")  # online a mirrored view has a target of its own
        assert losses(targets + "gate = 0.9999\n", near, unmoved) == losses(targets, near, unmoved) != [0]


def test_a_gate_that_leaves_too_little_leaves_losses_as_they_were() -> None:
    rows = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)))
    classes = Classes(torch.tensor([0, 1, -1]), rows[:2], torch.tensor([3, 3]))
    parts = [
        WeightedLoss(loss_class(name)(Setting(8, 8, classes, rows))) for name in ("adadistill", "ekd", "rkd")
    ]
    kept = torch.tensor([False, True, False, False, False, False])

    class Same(torch.nn.Module):
        input = InputSpec()

        def outputs(self, planes: torch.Tensor, features: bool = False) -> Outputs:
            return Outputs(rows.clone().requires_grad_())

    views = torch.zeros(6, 16, 16, 3, dtype=torch.uint8)
    zeros = torch.zeros(6, dtype=torch.int64)
    batch = Batch(views, torch.arange(6), zeros, zeros > 0, torch.arange(6) % 2)
    for left in (kept, kept & False):
        clean = torch.where(left[:, None], rows, -rows)
        gate = Gate(0.5, lambda crops, clean=clean: clean[crops])
        task = DistillTask(Same(), parts, lambda b: Targets(rows), lambda crops: rows[crops], gate=gate)
        result = task.step(batch, 0.0)
        assert list(result.terms) == ["adadistill", "ekd", "rkd_distance", "rkd_angle"]
        assert all(value.item() == 0 for value in result.terms.values())
        assert all(part.loss.training for part in parts)
        assert parts[0].loss.centres.abs().sum() == 0
        assert parts[1].loss.mine.isnan().all()
    gate = Gate(0.5, lambda crops: rows[crops])
    opened = DistillTask(Same(), parts, lambda b: Targets(rows), lambda crops: rows[crops], gate=gate)
    opened.step(batch, 0.0)
    assert parts[0].loss.centres.abs().sum() > 0
    assert not parts[1].loss.mine.isnan().any()
