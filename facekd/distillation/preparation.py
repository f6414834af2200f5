"""All that a run needs before its first step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from facekd.distillation.heldout_judge import HeldOutJudge, heldout_judge
from facekd.distillation.loss_builder import build_losses, build_teacher_losses, learning_teacher
from facekd.distillation.recipe import Recipe
from facekd.distillation.recipe_crops import training_crops
from facekd.distillation.report import Report
from facekd.distillation.task import DistillTask, Gate
from facekd.distillation.teacher_knowledge import teacher_knowledge
from facekd.distillation.teacher_query import TeacherQuery, keep_shown_views
from facekd.errors import UsageError
from facekd.models import FaceNet, Teacher, build_model, start_from
from facekd.training import load_weights, processes, rank
from facekd.training.data import EpochOrder, Order, PeopleOrder, ViewLoader


@dataclass(frozen=True)
class Prepared:
    """All that the loop needs; ``classes`` are the identities of the classes, ``label_seconds`` were spent
    on the teacher's targets and on views to keep."""

    task: DistillTask
    crops: int
    classes: tuple[str, ...]
    loader: ViewLoader
    order: Order
    judge: HeldOutJudge | None
    teacher: Teacher | None
    label_seconds: float


def prepare(recipe: Recipe, cache: Path, report: Report, device: str, threads: int, workers: int) -> Prepared:
    """Read the crops, build the student, ask the teacher, build the losses."""
    schedule = recipe.schedule
    torch.manual_seed(recipe.seed)
    crops = training_crops(recipe)
    report.say(crops.describe())
    student = build_model(recipe.student.name, **recipe.student.settings)
    started = _started(recipe, student, report)
    judge = heldout_judge(recipe, device) if rank() == 0 else None
    peer = learning_teacher(recipe)
    begun = time.perf_counter()
    query = TeacherQuery(cache, device, threads, workers, report.say, report.labelled, report.kept)
    kept = keep_shown_views(recipe, crops, query)
    knowledge = teacher_knowledge(recipe, crops, query, kept)
    crops = knowledge.crops
    label_seconds = time.perf_counter() - begun
    torch.manual_seed(recipe.seed)  # whether targets had to be made must not change the start
    table = recipe.teacher
    gate = Gate(table.gate, knowledge.clean) if table and table.gate is not None and knowledge.clean else None
    peer_losses = build_teacher_losses(recipe, peer, knowledge) if peer else []
    losses = build_losses(recipe, student, knowledge, started, peer, peer_losses)
    task = DistillTask(
        student, losses, knowledge.batch_targets, knowledge.first_view,
        schedule.start_size, schedule.start_share, recipe.mixing, gate, peer, peer_losses,
    )  # fmt: skip
    if processes() > 1 and any(isinstance(m, nn.Embedding) and m.sparse for m in task.modules()):
        raise UsageError("a classifier that is sampled (sample below 1) learns in one process only")
    count = table.repeats if table else 0
    order: Order = EpochOrder(len(crops), count, recipe.seed, recipe.mirror)
    if recipe.sampling.people:
        people, each = recipe.sampling.people, recipe.sampling.crops
        order = PeopleOrder(crops.labels, people, each, count, recipe.seed, recipe.mirror)
    share = max(1, schedule.batch // processes())
    loader = ViewLoader(crops, recipe.augmentation, recipe.seed, share, workers, threads, kept)
    return Prepared(
        task, len(crops), knowledge.classes.names, loader, order, judge, knowledge.teacher, label_seconds
    )


def _started(recipe: Recipe, student: FaceNet, report: Report) -> Mapping[str, Tensor]:
    """Fill the student from the network that the recipe names, say how many tensors were taken, and
    give those."""
    table = recipe.student
    if table.start is None:
        return {}
    done = start_from(student, load_weights(table.start), table.start_by, table.blend)
    share = "" if table.blend == 1 else f" with a share of {table.blend:g}"
    begin = f"begin as in {table.start.name}{share}, {len(done.fresh)} afresh"
    if not table.blend:
        begin = f"of {table.start.name} are there to be pulled to, all begin afresh"
    report.say(f"{len(done.taken)} tensors {begin}")
    return done.taken
