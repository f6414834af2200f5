"""Query the teacher: compute its targets of views and crops once, and store them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from facekd.distillation.recipe import Recipe
from facekd.distillation.target_cache import JoinedTargetCaches, TargetCache, open_target_cache
from facekd.distillation.task import BatchTargets, CropTargets
from facekd.models import Targets, Teacher
from facekd.training import Augmentation, first_decides, seen_by_all
from facekd.training.data import Batch, CropSet, ViewRows, keep_views, kept_views

#: the targets of one teacher, or of several
Caches = TargetCache | JoinedTargetCaches
#: targets that are in memory at once
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class TeacherQuery:
    """How the teacher is queried: where targets and views are stored, on which device, and who is told."""

    cache: Path
    device: str
    threads: int
    workers: int
    say: Callable[[str], None]
    labelled: Callable[[int, int], None]
    kept: Callable[[int, int], None] = lambda done, total: None


def keep_shown_views(recipe: Recipe, crops: CropSet, query: TeacherQuery) -> ViewRows | None:
    """The views that a run of ``recipe`` uses, made if they are not stored yet; `None` if the recipe
    does not keep them.

    Raises `InputOutput` if the disk is too small for them, or a process does not see them.
    """
    if recipe.teacher is None or not recipe.teacher.keep_views:
        return None
    kept = kept_views(query.cache, crops, recipe.augmentation, recipe.seed)
    numbers = recipe.view_numbers(len(crops))
    first_decides(lambda: _keep(kept, numbers, recipe, crops, query))
    seen_by_all(f"the views in {kept.folder}", lambda: kept.missing(numbers))
    return kept


def _keep(kept: ViewRows, numbers: range, recipe: Recipe, crops: CropSet, query: TeacherQuery) -> None:
    """Make the views that are missing."""

    def keep(total: int) -> None:
        query.say(f"storing {total:,} views, {kept.bytes_of(numbers) / 1e9:.1f} GB (in {kept.key})")
        keep_views(
            kept, numbers, crops, recipe.augmentation, recipe.seed,
            query.workers, query.threads, lambda done: query.kept(done, total),
        )  # fmt: skip

    _see_to(kept, numbers, "keeping", query, keep)


def _see_to(
    rows: ViewRows | TargetCache, numbers: range, doing: str, query: TeacherQuery, make: Callable[[int], None]
) -> None:
    """Call ``make`` with the number of missing ``rows``, if any, while nobody else makes them."""
    if not rows.missing(numbers):
        return
    with rows.alone(lambda: query.say(f"another run is {doing} these views: waiting for it")):
        # fewer than before, or none, if another run has computed them in the meantime
        total = rows.missing(numbers)
        if total:
            make(total)


def crop_targets(crops: CropSet, teacher: Teacher, query: TeacherQuery) -> Iterator[Tensor]:
    """Targets float32 [N, D] of the unaugmented crops, in their order and in portions; computed if they are
    not stored."""
    targets = open_target_cache(query.cache, teacher, crops, Augmentation(), 0)
    require_targets(targets, range(1), query)
    for some in torch.arange(len(crops)).split(ROWS_AT_ONCE):
        yield targets.rows(0, some)


def require_targets(targets: Caches, numbers: range, query: TeacherQuery) -> None:
    """Have the first process make sure that the targets exist, and check that the others see them."""
    for part in targets.parts:
        first_decides(partial(fill_missing, part, numbers, query))
        seen_by_all(f"the teacher's targets in {part.folder}", partial(part.missing, numbers))


def fill_missing(targets: TargetCache, numbers: range, query: TeacherQuery) -> None:
    """Have the teacher compute the missing targets."""

    def label(total: int) -> None:
        query.say(f"{targets.name} labels {total:,} views (kept in {targets.folder.name})")
        targets.fill(numbers, query.workers, lambda done: query.labelled(done, total), threads=query.threads)

    _see_to(targets, numbers, "labelling", query, label)


def first_view_targets(targets: Caches) -> CropTargets:
    """The targets of view 0 of crops."""
    return lambda crops: targets.rows(0, crops.cpu())


def asked_batch_targets(teacher: Teacher) -> BatchTargets:
    """Targets of the views of a batch, computed by the teacher at each step."""
    return lambda batch: teacher.targets(batch.views.cpu().numpy())


def cached_batch_targets(targets: Caches, clean: bool) -> BatchTargets:
    """The stored targets of the views of a batch, or with ``clean`` of its unaugmented crops."""

    def ask(batch: Batch) -> Targets:
        # an epoch's end may fall inside a batch, which then holds two view numbers
        numbers, crops = batch.numbers.cpu(), batch.crops.cpu()
        if clean:
            numbers = torch.zeros_like(numbers)
        out = torch.empty(len(crops), 0)
        for number in numbers.unique().tolist():
            chosen = numbers == number
            rows = targets.rows(number, crops[chosen])
            if not out.shape[1]:
                out = torch.empty(len(crops), rows.shape[1])
            out[chosen] = rows
        return Targets(out.to(batch.labels.device))

    return ask
