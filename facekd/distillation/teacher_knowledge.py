"""What a run gets from its teacher: targets for its batches, its classes, a sample of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import torch
from torch import Tensor

from facekd.distillation.losses import Classes, loss_class
from facekd.distillation.pseudo_labels import with_pseudo_labels
from facekd.distillation.recipe import Recipe
from facekd.distillation.target_cache import open_target_cache
from facekd.distillation.task import BatchTargets, CropTargets
from facekd.distillation.teacher_query import (
    ROWS_AT_ONCE,
    Caches,
    TeacherQuery,
    asked_batch_targets,
    cached_batch_targets,
    first_view_targets,
    require_targets,
)
from facekd.models import Teacher
from facekd.training import Augmentation, first_decides
from facekd.training.data import CropSet, ViewRows

#: the fewest crops of an identity that counts as a class in distillation
MIN_MEMBERS = 3


@dataclass(frozen=True)
class TeacherKnowledge:
    """``batch_targets`` returns targets for a batch, ``first_view`` each crop's target in view 0, its
    contribution to its class's sum, and ``clean`` that of the unaugmented crop, if there is a gate; ``crops``
    are the run's, with pseudo-labels if the recipe asks for them; ``sample`` [M, D] are targets of view 0 of
    some crops and ``sample_labels`` [M] their labels. ``dims`` are the dimensions of the teachers."""

    crops: CropSet
    teacher: Teacher | None
    batch_targets: BatchTargets | None
    first_view: CropTargets | None
    classes: Classes
    sample: Tensor
    sample_labels: Tensor
    dims: tuple[int, ...] = ()
    clean: CropTargets | None = None


def teacher_of(recipe: Recipe, query: TeacherQuery) -> Teacher | None:
    """The frozen teacher of a recipe, loaded; `None` if there is none, or it is co-trained. Raises the
    errors of `load_teacher`."""
    if recipe.teacher is None or recipe.teacher.network:
        return None
    from facekd.models.teachers import load_teacher

    return load_teacher(list(recipe.teacher.models), device=query.device, threads=query.threads)


def teacher_knowledge(
    recipe: Recipe,
    teacher: Teacher | None,
    crops: CropSet,
    query: TeacherQuery,
    kept: ViewRows | None = None,
) -> TeacherKnowledge:
    """Have the ``teacher`` of ``recipe`` compute the missing targets, and sum up its classes. Views that
    are ``kept`` are read as they are stored.

    Raises `UsageError` for more clusters than crops, and `InputOutput` if a process does not see the
    targets.
    """
    nobody = torch.empty(0, dtype=torch.int64)
    if recipe.teacher is None or teacher is None:
        return TeacherKnowledge(crops, None, None, None, _classes(crops, None, 1), torch.empty(0, 0), nobody)
    from facekd.models.teachers import members_of

    dims = tuple(member.dim for member in members_of(teacher))
    clean = recipe.teacher.rule == "clean-view"
    shown = Augmentation() if clean else recipe.augmentation
    targets = open_target_cache(query.cache, teacher, crops, shown, recipe.seed, kept)
    numbers = recipe.view_numbers(len(crops))
    if not numbers and _needs_first_view(recipe):
        numbers = range(1)
    require_targets(targets, numbers, query)
    batch_targets = (
        cached_batch_targets(targets, clean) if recipe.teacher.cached else asked_batch_targets(teacher)
    )
    origin = None
    if recipe.teacher.gate is not None:
        plain = open_target_cache(query.cache, teacher, crops, Augmentation(), recipe.seed)
        require_targets(plain, range(1), query)
        origin = first_view_targets(plain)
    if not numbers:
        classes = _classes(crops, None, MIN_MEMBERS)
        few = torch.empty(0, teacher.dim)
        return TeacherKnowledge(crops, teacher, batch_targets, None, classes, few, nobody, dims, origin)
    everything = torch.arange(len(crops))
    if recipe.pseudo.clusters:
        pseudo, rows, given = recipe.pseudo, targets.rows(0, everything).numpy(), crops
        crops = first_decides(
            lambda: with_pseudo_labels(given, rows, pseudo.clusters, pseudo.gate, recipe.seed)
        )
        query.say(f"with clusters: {crops.describe()}")
    few = everything[:: max(1, len(crops) // 20_000)]
    sample, sample_labels = targets.rows(0, few), torch.from_numpy(crops.labels)[few]
    needs_classes = any(loss_class(table.name).needs_labels for table in recipe.loss)
    classes = _classes(crops, targets if needs_classes else None, MIN_MEMBERS)
    return TeacherKnowledge(
        crops,
        teacher,
        batch_targets,
        first_view_targets(targets),
        classes,
        sample,
        sample_labels,
        dims,
        origin,
    )


def _needs_first_view(recipe: Recipe) -> bool:
    """Whether class means, clusters or principal directions need view 0."""
    assert recipe.teacher is not None
    return (
        any(loss_class(table.name).needs_labels for table in recipe.loss)
        or any(table.settings.get("match") == "pca" for table in recipe.loss)
        or recipe.pseudo.clusters > 0
    )


def _classes(crops: CropSet, targets: Caches | None, least: int) -> Classes:
    """Identities with at least ``least`` crops as classes, with the sums of their crops' targets."""
    counts = torch.from_numpy(crops.counts())
    kept = counts >= least
    of_label = torch.full((len(counts) + 1,), -1, dtype=torch.int64)
    of_label[:-1][kept] = torch.arange(int(kept.sum()))
    sizes, names = counts[kept], tuple(compress(crops.people, kept.tolist()))
    if targets is None:
        return Classes(of_label, torch.empty(0, 0), sizes, names)
    wanted = of_label[torch.from_numpy(crops.labels)]
    sums = torch.zeros(len(names), targets.dim)
    # in portions: the targets of millions of crops do not fit into memory
    for some in (wanted >= 0).nonzero().flatten().split(ROWS_AT_ONCE):
        sums.index_add_(0, wanted[some], targets.rows(0, some))
    return Classes(of_label, sums, sizes, names)
