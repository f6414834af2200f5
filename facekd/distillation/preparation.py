"""Prepare everything that a run needs before its first step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from facekd.distillation.copied_crops import copies_note, heldout_copies
from facekd.distillation.heldout_judge import HeldOutJudge, heldout_judge
from facekd.distillation.loss_builder import build_losses, build_teacher_losses, co_trained_teacher
from facekd.distillation.losses import loss_class
from facekd.distillation.recipe import Recipe
from facekd.distillation.recipe_crops import training_crops
from facekd.distillation.resume import require_same, run_contract
from facekd.distillation.task import DistillTask, Gate
from facekd.distillation.teacher_check import WITHOUT_CARD, judge_teacher
from facekd.distillation.teacher_knowledge import teacher_knowledge, teacher_of
from facekd.distillation.teacher_query import TeacherQuery, keep_shown_views
from facekd.distillation.weighted_loss import WeightedLoss
from facekd.errors import UsageError
from facekd.models import FaceNet, Teacher, build_model, provenance_of, start_from
from facekd.models.teachers import members_of
from facekd.training import RunFolder, first_decides, load_learned, load_weights, processes, rank
from facekd.training.data import CropSet, EpochOrder, Order, PeopleOrder, ViewLoader, require_usable

#: the key in ``metrics.jsonl`` of the teacher's own TAR on the held-out people
TEACHER_SCORE = "teacher_heldout_tar_1e-3"
TEACHER_INTERVAL = "teacher_heldout_interval"


@dataclass(frozen=True)
class Prepared:
    """Everything that the loop needs. ``classes`` are the identities of the classes, ``label_seconds`` the
    time spent on teacher targets and kept views, ``contract`` what the checkpoints state about the run."""

    task: DistillTask
    classes: tuple[str, ...]
    loader: ViewLoader
    order: Order
    judge: HeldOutJudge | None
    teacher: Teacher | None
    contract: dict[str, Any]
    label_seconds: float


def prepare(recipe: Recipe, run: RunFolder, resume: bool, query: TeacherQuery) -> Prepared:
    """Read the crops, build the student, evaluate the teacher, compute its targets, and build the losses.

    Raises `UsageError` if a ``run`` to resume was started with different inputs, or the teacher is too weak.
    """
    schedule = recipe.schedule
    torch.manual_seed(recipe.seed)
    crops = training_crops(recipe, query.say)
    query.say(crops.describe())
    weights = crops.weighted(recipe.sampling.weights) if recipe.sampling.weights else None
    student = build_model(recipe.student.name, **recipe.student.settings)
    started = _started(recipe, student, query)
    _check_people(recipe, crops)
    teacher = teacher_of(recipe, query)
    contract = run_contract(recipe, crops, teacher)
    if resume:
        first_decides(lambda: require_same(run, contract))
    judge = heldout_judge(recipe, query.device) if rank() == 0 else None
    first_decides(lambda: _check_crops(recipe, crops, judge, query))
    first_decides(lambda: _note_copies(recipe, crops, teacher, query))
    first_decides(lambda: _judge_teacher(recipe, teacher, judge, run, query))
    peer = co_trained_teacher(recipe)
    begun = time.perf_counter()
    kept = keep_shown_views(recipe, crops, query)
    knowledge = teacher_knowledge(recipe, teacher, crops, query, kept)
    crops = knowledge.crops
    label_seconds = time.perf_counter() - begun
    torch.manual_seed(recipe.seed)  # the start must not depend on whether targets had to be computed
    table = recipe.teacher
    gate = Gate(table.gate, knowledge.clean) if table and table.gate is not None and knowledge.clean else None
    peer_losses = build_teacher_losses(recipe, peer, knowledge) if peer else []
    losses = build_losses(recipe, student, knowledge, started, peer, peer_losses)
    _note_projectors(recipe, losses, student, teacher, query)
    task = DistillTask(
        student, losses, knowledge.batch_targets, knowledge.first_view,
        schedule.start_size, schedule.start_share, recipe.mixing, gate, peer, peer_losses,
        schedule.compile,
    )  # fmt: skip
    _go_on(recipe, task, query)
    if processes() > 1 and any(isinstance(m, nn.Embedding) and m.sparse for m in task.modules()):
        raise UsageError("a sampled classifier (sample below 1) can be trained in one process only")
    count = table.repeats if table else 0
    order: Order = EpochOrder(len(crops), count, recipe.seed, recipe.mirror, weights)
    if recipe.sampling.people:
        people, each = recipe.sampling.people, recipe.sampling.crops
        order = PeopleOrder(crops.labels, people, each, count, recipe.seed, recipe.mirror)
    share = max(1, schedule.batch // processes())
    loader = ViewLoader(crops, recipe.augmentation, recipe.seed, share, query.workers, query.threads, kept)
    return Prepared(task, knowledge.classes.names, loader, order, judge, teacher, contract, label_seconds)


def _check_people(recipe: Recipe, crops: CropSet) -> None:
    """Raise `UsageError` if losses that need identities have fewer than two of them."""
    asking = [table.name for table in recipe.loss if loss_class(table.name).needs_labels]
    if asking and len(crops.people) < 2 and not recipe.pseudo.clusters:
        there = f"one identity, {crops.people[0]}" if crops.people else "no identity"
        raise UsageError(
            f"loss '{asking[0]}' tells identities apart, but the training data has {there}",
            "Use data with a folder for each identity, or losses that need no labels, such as cosine.",
        )


def _check_crops(recipe: Recipe, crops: CropSet, judge: HeldOutJudge | None, query: TeacherQuery) -> None:
    """Check that all crops can be used, those that judge too, and whether they fill a batch."""
    require_usable(crops, query.cache)
    if judge:
        require_usable(judge.crops, query.cache)
    batch = recipe.schedule.batch
    if len(crops) < batch:
        query.say(
            f"note: {len(crops):,} crops are fewer than a batch of {batch}, so a batch contains each of them "
            "more than once: losses that compare crops of a batch learn little from that"
        )


def _note_copies(recipe: Recipe, crops: CropSet, teacher: Teacher | None, query: TeacherQuery) -> None:
    copies = heldout_copies(recipe, crops, teacher, query.cache)
    if copies:
        query.say(copies_note(copies))


def _judge_teacher(
    recipe: Recipe, teacher: Teacher | None, judge: HeldOutJudge | None, run: RunFolder, query: TeacherQuery
) -> None:
    """The teacher's own accuracy on the held-out people, recorded once among the run's metrics."""
    if teacher is None or recipe.teacher is None:
        return
    for member in members_of(teacher):
        if not getattr(member, "has_card", True):
            query.say(f"note: teacher {member.name} {WITHOUT_CARD}")
    if judge is None:
        query.say("no held-out people (data.heldout): neither the teacher nor the student is evaluated")
        return
    found = judge_teacher(teacher, judge.crops, recipe.teacher.floor, query)
    if found is not None and not any(TEACHER_SCORE in record for record in run.metrics()):
        interval = (found.interval.low, found.interval.high) if found.interval else None
        run.log({"step": 0, TEACHER_SCORE: found.tar, TEACHER_INTERVAL: interval})


def _note_projectors(
    recipe: Recipe,
    losses: Sequence[WeightedLoss],
    student: FaceNet,
    teacher: Teacher | None,
    query: TeacherQuery,
) -> None:
    """Say which losses learn a projector because the student's embedding has another size."""
    if teacher is None or teacher.dim == student.dim:
        return
    through = [
        table.name
        for table, weighted in zip(recipe.loss, losses, strict=True)
        if any("projector" in name for name, _ in weighted.loss.named_parameters())
    ]
    if through:
        query.say(
            f"note: the student's embedding has {student.dim} dimensions and the teacher's {teacher.dim}: "
            f"{', '.join(through)} compares them through a projector, which is not exported, only its metric"
        )


def _started(recipe: Recipe, student: FaceNet, query: TeacherQuery) -> Mapping[str, Tensor]:
    """Initialise the student from the network that the recipe names, say how many tensors were taken, and
    return those."""
    table = recipe.student
    if table.start is None:
        return {}
    done = start_from(student, load_weights(table.start), table.start_by, table.blend)
    share = "" if table.blend == 1 else f" with a share of {table.blend:g}"
    begin = f"start as in {table.start.name}{share}, {len(done.fresh)} at random"
    if not table.blend:
        begin = f"of {table.start.name} are used by l2_sp only, all start at random"
    query.say(f"{len(done.taken)} tensors {begin}")
    if provenance_of(table.start) is None:
        query.say(
            f"note: {table.start} does not say what it was trained on: the card of this run cannot name its "
            "packs, and nothing will stop you from measuring the student on them"
        )
    return done.taken


def _go_on(recipe: Recipe, task: DistillTask, query: TeacherQuery) -> None:
    """If the student continues a network including its head, also restore what its losses had learned."""
    table = recipe.student
    if table.start is None or table.start_by not in ("whole", "norms") or table.blend < 1:
        return
    learned = load_learned(table.start)
    own = {name: value for name, value in task.state_dict().items() if name.startswith("losses.")}
    taken = [name for name, value in own.items() if name in learned and learned[name].shape == value.shape]
    with torch.no_grad():
        for name in taken:
            own[name].copy_(learned[name])
    if own:
        query.say(f"{len(taken)} of {len(own)} tensors of the losses continue as in {table.start.name}")
