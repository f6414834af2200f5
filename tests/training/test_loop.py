"""The end of a run that diverges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import losses_of, make_place, recipe, run

from facekd.distillation import SILENT, run_recipe, training_crops
from facekd.distillation.losses.cosine import Cosine
from facekd.distillation.task import DistillTask
from facekd.models import Outputs
from facekd.training import RunFolder, StepResult
from facekd.training.data import Batch
from facekd.training.data.sampler import EpochOrder
from facekd.training.loop import Diverged, clipped_norm
from facekd.training.schedule import rate_at


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


@pytest.mark.parametrize(
    ("looks", "message"),
    [
        (1, r"the loss is nan at step 2 \(8 crops: (crops/p\d/\d.png, ){4}\.\.\.\)"),
        (12, "the student's embeddings of 8 of 8 held-out crops are not finite"),
    ],
)
def test_numbers_that_are_none_end_a_run(place: Path, looks: int, message: str) -> None:
    wild = recipe(
        place,
        losses='[[loss]]\nname = "mse"\nsettings = { normalise = false }\n',
        wild=("evaluations = 3", f'evaluations = {looks}\noptimizer = "sgd"\nrate = 1e30\nclip = 0.0'),
    )
    with pytest.raises(Diverged, match=message):
        run(place, "run", wild)


def test_a_gradient_that_is_no_number_is_not_stepped(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = '[[loss]]\nname = "cosine"\n'
    chosen = recipe(place, losses=losses, looks=("evaluations = 3", "evaluations = 12\nclip = 0.0"))
    whole = run(place, "whole", chosen)
    well = Cosine.forward

    def kinked(self: Cosine, student: Outputs, *others: Any) -> Any:
        found = dict(well(self, student, *others))
        if others[-1] >= 6 / 12:  # the seventh step of twelve
            # a zero, whose root has no derivative
            found["cosine"] = found["cosine"] + (student.embedding[2] * 0).abs().sum().sqrt()
        return found

    with monkeypatch.context() as during:
        during.setattr(Cosine, "forward", kinked)
        with pytest.raises(Diverged, match="the norm of the gradient is nan at step 7 ") as told:
            run(place, "cut", chosen)
    assert "--resume" in str(told.value)
    crops = training_crops(chosen)
    order = EpochOrder(len(crops), 2, chosen.seed, chosen.mirror)
    batch = [order.at(position).crop for position in range(6 * 8, 6 * 8 + 4)]
    assert f"(8 crops: {', '.join(crops.called(index) for index in batch)}, ...)" in str(told.value)
    assert losses_of(RunFolder(place / "cut").metrics()) == losses_of(whole)[:6]
    assert RunFolder(place / "cut").load().state["step"] == 6
    assert losses_of(run(place, "cut", chosen, resume=True)) == losses_of(whole)


def test_the_crops_that_have_no_embedding_are_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = DistillTask.step

    def spoiled(self: DistillTask, batch: Batch, progress: float) -> StepResult:
        result = step(self, batch, progress)
        embeddings = result.embeddings.clone()
        embeddings[[1, 4]] = torch.nan
        seen.append(batch.crops[[1, 4]].tolist())
        return result._replace(loss=result.loss * torch.nan, embeddings=embeddings)

    seen: list[list[int]] = []
    chosen, crops = recipe(place), training_crops(recipe(place))
    monkeypatch.setattr(DistillTask, "step", spoiled)
    with pytest.raises(Diverged) as told:
        run(place, "run", chosen)
    named = ", ".join(crops.called(index) for index in seen[0])
    assert told.value.cause == f"the loss is nan at step 1 (2 crops: {named})"


def test_sparse_gradients_are_watched_and_not_clipped() -> None:
    dense = torch.nn.Parameter(torch.zeros(3))
    rows = torch.nn.Embedding(5, 2, sparse=True)
    dense.grad = torch.tensor([3.0, 0.0, 4.0])
    rows(torch.tensor([1, 1])).sum().backward()
    assert clipped_norm([dense, rows.weight], 0.0) == 5
    assert clipped_norm([dense, rows.weight], 2.5) == 5
    assert dense.grad.tolist() == pytest.approx([1.5, 0, 2])
    assert rows.weight.grad.to_dense()[1].tolist() == [2, 2]
    rows.weight.grad = rows.weight.grad * torch.inf
    assert clipped_norm([dense, rows.weight], 2.5).isnan()


def test_the_first_step_learns_and_a_cut_run_counts_what_it_saw(place: Path) -> None:
    chosen = recipe(place, warm=("images = 96", "images = 96\nwarmup = 0.5"))  # six of twelve steps
    outcome = run_recipe(
        chosen, place / "run", SILENT, cache=place / "cache", workers=0, threads=1, stop_after=5
    )
    assert outcome.images == 40
    records = run(place, "all", recipe(place, warm=("images = 96", "images = 96\nwarmup = 0.5")))
    rates = {r["step"]: r["rate"] for r in records if "rate" in r}
    assert rates[1] == pytest.approx(0.002 / 6)
    assert rate_at(5 / 12, 0.5, "cosine", step=1 / 12) == 1.0
    shares = [rate_at(k / 12, 0.5, "cosine", step=1 / 12) for k in range(6)]
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    untouched = RunFolder(place / "all").metrics()
    assert untouched[-1]["images"] == 96
    again = run_recipe(
        chosen, place / "all", SILENT, cache=place / "cache", workers=0, threads=1, resume=True
    )
    assert again.images == 96  # nothing is left to see
