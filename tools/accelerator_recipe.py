"""The settings of a run on an accelerator: the options of `train_on_accelerator.py`, the recipe that results
from them, and its losses."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerator_teacher import torch_specs
from accelerator_views import require_made_here

from facekd.distillation import Recipe, WeightedLoss, check_recipe, read_recipe
from facekd.distillation.losses import Classes, Setting, loss_class
from facekd.errors import UsageError
from facekd.models import FaceNet


@dataclass(frozen=True)
class Options:
    """The options of the command line, which documents them."""

    recipe: Path
    out: Path
    device: str = "cuda"
    seconds: float = 520.0
    images: int | None = None
    network: str | None = None
    start: Path | None = None
    teachers: tuple[str, ...] = ()
    batch: int = 1024
    rate: float | None = None
    precision: str = "bf16"
    teacher_precision: str = "bf16"
    compiled: bool = False
    save_every: float = 60.0
    shards: Path | None = None
    resume: bool = False
    force: bool = False
    processes: int | None = None
    #: when the clock began to run, by `time.perf_counter`
    since: float = field(default_factory=time.perf_counter)


def recipe_of(options: Options) -> Recipe:
    """The recipe with online torch teachers, and with the changes that the options make.

    Raises `UsageError` if the recipe needs something that this tool does not support.
    """
    read = read_recipe(options.recipe)
    if read.teacher is None or not (read.teacher.models or options.teachers):
        raise UsageError(f"{options.recipe}: names no teacher", "Training on an accelerator needs a teacher.")
    raw = read.model_dump()
    models = options.teachers or torch_specs(read.teacher.models, options.recipe.parent)
    raw["teacher"] = {"models": models, "targets": "online", "floor": read.teacher.floor}
    raw["schedule"] |= {"batch": options.batch, "rate": options.rate or read.schedule.rate}
    raw["schedule"]["images"] = max(options.batch, options.images or read.schedule.images)
    if options.network:
        raw["student"] = {"name": options.network}
    recipe = check_recipe(raw, str(options.recipe))
    _require_possible(recipe)
    return recipe


def _require_possible(recipe: Recipe) -> None:
    require_made_here(recipe.augmentation)
    kinds = [(table.name, loss_class(table.name)) for table in recipe.loss]
    faults = [f"loss '{name}'" for name, kind in kinds if kind.needs_labels or kind.needs_features]
    faults += [f"loss '{t.name}' with match = 'pca'" for t in recipe.loss if t.settings.get("match") == "pca"]
    faults += [f"loss '{t.name}' with teacher = {t.teacher}" for t in recipe.loss if t.teacher is not None]
    faults += ["mixing"] if recipe.mixing.active else []
    faults += ["sampling.people"] if recipe.sampling.people else []
    faults += ["schedule.ema"] if recipe.schedule.ema else []
    faults += ["student.start (give --start)"] if recipe.student.start is not None else []
    faults += ["data.heldout left out"] if recipe.data.heldout is None else []
    if faults:
        raise UsageError(
            f"{', '.join(faults)}: not supported on an accelerator", "Train with 'facekd distill'."
        )


def losses_of(recipe: Recipe, student: FaceNet, teacher_dim: int) -> list[WeightedLoss]:
    """The recipe's losses, which need neither labels nor the teacher's statistics."""
    none = Classes(torch.empty(0, dtype=torch.int64), torch.empty(0, teacher_dim))
    setting = Setting(student.dim, teacher_dim, none, torch.empty(0, teacher_dim), network=student)
    return [
        WeightedLoss(loss_class(t.name)(setting, **t.settings), t.weight, t.final_weight, t.begin, t.end)
        for t in recipe.loss
    ]
