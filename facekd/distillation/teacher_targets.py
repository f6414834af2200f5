"""The teacher's side of a run: what it says of every view, and what is known of classes from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path

import torch
from torch import Tensor

from facekd.distillation.losses import Classes, loss_class
from facekd.distillation.pseudo_labels import with_pseudo_labels
from facekd.distillation.recipe import Recipe
from facekd.distillation.target_cache import JoinedTargets, TargetCache, targets_of
from facekd.distillation.task import Ask, Own
from facekd.models import Targets, Teacher
from facekd.training import Augmentation, first_decides, seen_by_all
from facekd.training.data import Batch, CropSet, ViewRows, keep_views, kept_views

#: the fewest crops of an identity that is used as a class in distillation
MIN_MEMBERS = 3
#: what a teacher, or several, said
Labels = TargetCache | JoinedTargets
#: targets that are in memory at once
_ROWS = 65_536


@dataclass(frozen=True)
class Asking:
    """How the teacher is asked: where targets and views are kept, on what, and whom to tell."""

    cache: Path
    device: str
    threads: int
    workers: int
    say: Callable[[str], None]
    labelled: Callable[[int, int], None]
    kept: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True)
class Sight:
    """``ask`` gives targets for a batch, ``own`` each crop's target in view 0, for leaving it out, and
    ``clean`` that of the crop itself, where there is a gate; ``crops`` are the run's, with pseudo-labels
    where the recipe wants them; ``sample`` [M, D] are targets of view 0 of some crops and
    ``sample_labels`` [M] whose they are. ``dims`` are the sizes of the teacher's members."""

    crops: CropSet
    teacher: Teacher | None
    ask: Ask | None
    own: Own | None
    classes: Classes
    sample: Tensor
    sample_labels: Tensor
    dims: tuple[int, ...] = ()
    clean: Own | None = None


def keep_shown(recipe: Recipe, crops: CropSet, asking: Asking) -> ViewRows | None:
    """The views that a run of ``recipe`` shows, made where they are not kept yet; `None` where the recipe
    does not keep them.

    Raises `InputOutput` where the disk has no room for them, or a process does not see them.
    """
    if recipe.teacher is None or not recipe.teacher.keep_views:
        return None
    kept = kept_views(asking.cache, crops, recipe.augmentation, recipe.seed)
    numbers = recipe.view_numbers(len(crops))
    first_decides(lambda: _keep(kept, numbers, recipe, crops, asking))
    seen_by_all(f"the views in {kept.folder}", lambda: kept.missing(numbers))
    return kept


def _keep(kept: ViewRows, numbers: range, recipe: Recipe, crops: CropSet, asking: Asking) -> None:
    """Make the views that are not there yet."""

    def keep(total: int) -> None:
        asking.say(f"keeps {total:,} views, {kept.bytes_of(numbers) / 1e9:.1f} GB (in {kept.key})")
        keep_views(
            kept, numbers, crops, recipe.augmentation, recipe.seed,
            asking.workers, asking.threads, lambda done: asking.kept(done, total),
        )  # fmt: skip

    _see_to(kept, numbers, "keeping", asking, keep)


def _see_to(
    rows: ViewRows | TargetCache, numbers: range, doing: str, asking: Asking, make: Callable[[int], None]
) -> None:
    """Call ``make`` with how many of the ``rows`` are not there, if any, while nobody else makes them."""
    if not rows.missing(numbers):
        return
    with rows.alone(lambda: asking.say(f"another run is {doing} these views: waiting for it")):
        # less than before, or nothing, where another run did it meanwhile
        total = rows.missing(numbers)
        if total:
            make(total)


def teacher_sight(recipe: Recipe, crops: CropSet, asking: Asking, kept: ViewRows | None = None) -> Sight:
    """Load the teacher of ``recipe``, have it label what has no target yet, and sum up its classes.
    Views that are ``kept`` are labelled as they lie there.

    Raises the errors of `load_teacher`, `UsageError` for more clusters than crops, and `InputOutput`
    where a process does not see the targets.
    """
    nobody = torch.empty(0, dtype=torch.int64)
    if recipe.teacher is None or recipe.teacher.network:
        return Sight(crops, None, None, None, _classes(crops, None, 1), torch.empty(0, 0), nobody)
    from facekd.models.teachers import SeveralTeachers, load_teacher

    teacher = load_teacher(list(recipe.teacher.models), device=asking.device, threads=asking.threads)
    dims = teacher.dims if isinstance(teacher, SeveralTeachers) else (teacher.dim,)
    clean = recipe.teacher.rule == "clean-view"
    shown = Augmentation() if clean else recipe.augmentation
    targets = targets_of(asking.cache, teacher, crops, shown, recipe.seed, kept)
    numbers = recipe.view_numbers(len(crops))
    if not numbers and _needs_first_view(recipe):
        numbers = range(1)
    _make(targets, numbers, asking)
    ask = _cached(targets, clean) if recipe.teacher.cached else _online(teacher)
    origin = None
    if recipe.teacher.gate is not None:
        plain = targets_of(asking.cache, teacher, crops, Augmentation(), recipe.seed)
        _make(plain, range(1), asking)
        origin = _own(plain)
    if not numbers:
        classes = _classes(crops, None, MIN_MEMBERS)
        few = torch.empty(0, teacher.dim)
        return Sight(crops, teacher, ask, None, classes, few, nobody, dims, origin)
    everything = torch.arange(len(crops))
    if recipe.pseudo.clusters:
        pseudo, rows, given = recipe.pseudo, targets.rows(0, everything).numpy(), crops
        crops = first_decides(
            lambda: with_pseudo_labels(given, rows, pseudo.clusters, pseudo.gate, recipe.seed)
        )
        asking.say(f"with clusters: {crops.describe()}")
    few = everything[:: max(1, len(crops) // 20_000)]
    sample, sample_labels = targets.rows(0, few), torch.from_numpy(crops.labels)[few]
    needs_classes = any(loss_class(table.name).needs_labels for table in recipe.loss)
    classes = _classes(crops, targets if needs_classes else None, MIN_MEMBERS)
    return Sight(crops, teacher, ask, _own(targets), classes, sample, sample_labels, dims, origin)


def crop_targets(crops: CropSet, teacher: Teacher, asking: Asking) -> Iterator[Tensor]:
    """Targets float32 [N, D] of the crops as they are, in their order and some at a time; asked for where
    they are not kept."""
    targets = targets_of(asking.cache, teacher, crops, Augmentation(), 0)
    _make(targets, range(1), asking)
    for some in torch.arange(len(crops)).split(_ROWS):
        yield targets.rows(0, some)


def _make(targets: Labels, numbers: range, asking: Asking) -> None:
    """Have the first process see to it that the targets are there, and the others that they see them."""
    for part in targets.parts:
        first_decides(partial(_fill, part, numbers, asking))
        seen_by_all(f"the teacher's targets in {part.folder}", partial(part.missing, numbers))


def _fill(targets: TargetCache, numbers: range, asking: Asking) -> None:
    """Have the teacher label what has no target yet."""

    def label(total: int) -> None:
        asking.say(f"{targets.name} labels {total:,} views (kept in {targets.folder.name})")
        targets.fill(
            numbers, asking.workers, lambda done: asking.labelled(done, total), threads=asking.threads
        )

    _see_to(targets, numbers, "labelling", asking, label)


def _needs_first_view(recipe: Recipe) -> bool:
    """Whether class means, clusters or principal directions look at view 0."""
    assert recipe.teacher is not None
    return (
        any(loss_class(table.name).needs_labels for table in recipe.loss)
        or any(table.settings.get("match") == "pca" for table in recipe.loss)
        or recipe.pseudo.clusters > 0
    )


def _own(targets: Labels) -> Own:
    return lambda crops: targets.rows(0, crops.cpu())


def _online(teacher: Teacher) -> Ask:
    return lambda batch: teacher.targets(batch.views.cpu().numpy())


def _cached(targets: Labels, clean: bool) -> Ask:
    """The targets of the views of a batch, or with ``clean`` of their crops."""

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


def _classes(crops: CropSet, targets: Labels | None, least: int) -> Classes:
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
    # some at a time: millions of crops do not fit into memory
    for some in (wanted >= 0).nonzero().flatten().split(_ROWS):
        sums.index_add_(0, wanted[some], targets.rows(0, some))
    return Classes(of_label, sums, sizes, names)
