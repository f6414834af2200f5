"""From a recipe to a trained student: what `facekd distill` and `facekd train` do."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facekd.card import Card, EmbeddingSpec, LandmarkCrop, Origin, Provenance
from facekd.distill.losses import Maps, Setting, loss_class
from facekd.distill.recipe import Recipe, missing_files, read_recipe
from facekd.distill.sight import Asking, Sight, teacher_sight
from facekd.distill.task import DistillTask
from facekd.errors import FacekdError, InputOutput, RecipeError, UsageError
from facekd.models import FaceNet, Teacher, build_model, start_from, to_planes, torch_device
from facekd.runtime import threads_available
from facekd.training import Choice, Progress, RunFolder, choose_precision, fit, load_weights, share_processors
from facekd.training.data import CropSet, ViewLoader, open_crops
from facekd.training.data.crops import open_identities, read_list
from facekd.training.data.views import EpochOrder, Order, PeopleOrder


@dataclass(frozen=True)
class Report:
    """What a run tells while it works; every field is called with text or counts."""

    say: Callable[[str], None]
    labelled: Callable[[int, int], None]
    trained: Callable[[Progress], None]


@dataclass(frozen=True)
class Outcome:
    """What a run did, also in its last line of ``metrics.jsonl``."""

    folder: Path
    images: int
    label_seconds: float
    train_seconds: float
    distinct_views: int
    heldout_tar: float | None


def run_recipe(
    recipe: Recipe,
    folder: Path,
    report: Report,
    *,
    device: str = "cpu",
    threads: int | None = None,
    workers: int | None = None,
    cache: Path,
    force: bool = False,
    resume: bool = False,
    stop_after: int | None = None,
) -> Outcome:
    """Train the student of ``recipe`` into the run folder ``folder``.

    Raises the errors of the rooms it uses; `UsageError` where a resumed run's recipe is another.
    """
    torch_device(device)  # said before anything is read or written
    missing = missing_files(recipe)
    if missing:
        raise InputOutput("the recipe names what is not there: " + ", ".join(missing))
    run = _folder(recipe, folder, force, resume)
    report = replace(report, say=_also_noted(report.say, run))
    threads, workers = share_processors(device, threads_available(), threads, workers)
    torch.set_num_threads(threads)
    try:
        ready = _prepare(recipe, cache, report, device, threads, workers)
    except FacekdError:
        if not resume:
            run.discard()  # it never began
        raise
    write_card(recipe, ready.task.student, ready.teacher, run)
    chosen = _precision(recipe, ready.task.student, run, device)
    shared = f"{threads} threads and {workers} decoding processes" if workers else f"{threads} threads"
    report.say(f"training {recipe.student.name} on {device}, {shared}, {chosen}")
    started = time.perf_counter()
    images = fit(
        ready.task, ready.loader, ready.order, recipe.plan(chosen.precision), run,
        device, resume, ready.judge, report.trained, stop_after,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    distinct = _distinct(recipe, ready.order, ready.crops)
    outcome = Outcome(run.path, images, ready.label_seconds, seconds, distinct, _last_tar(run))
    if stop_after is None:
        run.log(
            {
                "finished": True,
                "images": images,
                "label_seconds": round(outcome.label_seconds, 1),
                "train_seconds": round(seconds, 1),
                "distinct_views": distinct,
            }
        )
    return outcome


@dataclass(frozen=True)
class _Ready:
    """All that the loop needs; ``label_seconds`` were spent on the teacher's targets."""

    task: DistillTask
    crops: int
    loader: ViewLoader
    order: Order
    judge: Callable[[], float] | None
    teacher: Teacher | None
    label_seconds: float


def _prepare(recipe: Recipe, cache: Path, report: Report, device: str, threads: int, workers: int) -> _Ready:
    """Read the crops, build the student, ask the teacher, build the losses."""
    schedule = recipe.schedule
    if recipe.schedule.steps < 1:
        raise UsageError(f"{schedule.images} images in batches of {schedule.batch} make no step")
    torch.manual_seed(recipe.seed)
    crops = training_crops(recipe)
    report.say(crops.describe())
    student = build_model(recipe.student.name, **recipe.student.settings)
    if schedule.start_size and not student.any_size:
        raise UsageError(f"student '{recipe.student.name}' takes 112 pixels only: leave start_size out")
    started = _start(recipe, student, report)
    judge = _judge(recipe, student, device)
    begun = time.perf_counter()
    asking = Asking(cache, device, threads, workers, report.say, report.labelled)
    sight = teacher_sight(recipe, crops, asking)
    crops = sight.crops
    label_seconds = time.perf_counter() - begun
    torch.manual_seed(recipe.seed)  # whether targets had to be made must not change the start
    losses = _losses(recipe, student, sight, started)
    task = DistillTask(
        student, losses, sight.ask, sight.own, schedule.start_size, schedule.start_share, recipe.mixing,
        recipe.teacher.gate if recipe.teacher else None,
    )  # fmt: skip
    count = recipe.teacher.views if recipe.teacher and recipe.teacher.targets == "cached" else 0
    order: Order = EpochOrder(len(crops), count, recipe.seed, recipe.mirror)
    if recipe.sampling.people:
        people, each = recipe.sampling.people, recipe.sampling.crops
        order = PeopleOrder(crops.labels, people, each, count, recipe.seed, recipe.mirror)
    loader = ViewLoader(crops, recipe.augmentation, recipe.seed, schedule.batch, workers)
    return _Ready(task, len(crops), loader, order, judge, sight.teacher, label_seconds)


def _precision(recipe: Recipe, student: FaceNet, run: RunFolder, device: str) -> Choice:
    """What the run was begun in, if it has a checkpoint, so that it goes on to the last bit the
    same; else what is asked for or found to be faster."""
    schedule, begun = recipe.schedule, run.state().get("precision")
    if begun:
        return Choice(begun)
    return choose_precision(schedule.precision, student, student.input.size, schedule.batch, device)


def _also_noted(say: Callable[[str], None], run: RunFolder) -> Callable[[str], None]:
    def both(text: str) -> None:
        run.note(text)
        say(text)

    return both


def training_crops(recipe: Recipe) -> CropSet:
    """The crops of a recipe, without the held-out identities."""
    data = recipe.data
    exclude = (*data.exclude, data.heldout) if data.heldout else data.exclude
    crops = open_crops(data.labelled, data.unlabelled, data.merge, exclude, data.doubts)
    return crops.capped(data.cap) if data.cap else crops


def heldout_crops(recipe: Recipe, part: str) -> CropSet | None:
    """The held-out crops: ``part`` "choose" (odd lines of the list) or "calibrate" (even)."""
    data = recipe.data
    if data.heldout is None:
        return None
    lines = read_list(data.heldout)[0 if part == "choose" else 1 :: 2]
    return open_identities(data.labelled, lines, data.merge)


def embed_crops(student: FaceNet, crops: CropSet, device: str = "cpu", batch: int = 64) -> np.ndarray:
    """Unit embeddings float32 [N, D] of all crops by a torch network."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch):
            pixels = np.stack([crops.read(i) for i in range(start, min(start + batch, len(crops)))])
            planes = to_planes(pixels, student.input, device)
            out = student(planes.contiguous(memory_format=torch.channels_last))
            rows.append(torch.nn.functional.normalize(out.float(), dim=1).cpu())
    return torch.cat(rows).numpy()


def _start(recipe: Recipe, student: FaceNet, report: Report) -> frozenset[str]:
    """Fill the student from the network that the recipe names, and say which tensors were taken."""
    table = recipe.student
    if table.start is None:
        return frozenset()
    done = start_from(student, load_weights(table.start), table.start_by, table.blend)
    report.say(f"{len(done.taken)} tensors begin as in {table.start.name}, {len(done.fresh)} afresh")
    return frozenset(done.taken)


def _losses(recipe: Recipe, student: FaceNet, sight: Sight, started: frozenset[str]) -> list:
    teacher_dim = sight.teacher.dim if sight.teacher else student.dim
    maps: tuple[Maps, Maps] = ({}, {})
    if any(loss_class(table.name).needs_features for table in recipe.loss):
        maps = _maps(student, sight.teacher)
    setting = Setting(
        student.dim, teacher_dim, sight.classes, sight.sample, *maps, sight.sample_labels, student, started
    )
    return [(t.weight, loss_class(t.name)(setting, **t.settings)) for t in recipe.loss]


def _maps(student: FaceNet, teacher: Teacher | None) -> tuple[Maps, Maps]:
    """Shapes of the feature maps that either gives for a black crop."""
    size = student.input.size
    with torch.no_grad():
        mine = student.eval().outputs(torch.zeros(1, 3, size, size), features=True).features
    student.train()
    theirs = teacher.targets(np.zeros((1, 112, 112, 3), np.uint8)).features if teacher else {}
    return _shapes(mine), _shapes(theirs)


def _shapes(maps: dict[str, Tensor]) -> Maps:
    return {name: (m.shape[1], m.shape[2], m.shape[3]) for name, m in maps.items() if m.ndim == 4}


def _judge(recipe: Recipe, student: FaceNet, device: str) -> Callable[[], float] | None:
    held = heldout_crops(recipe, "choose")
    if held is None:
        return None
    if len(held.people) < 2 or held.counts().max() < 2:
        raise RecipeError(
            f"{recipe.data.heldout}: choosing a checkpoint needs at least two identities with two crops",
            "They are taken from the odd lines of the list.",
        )
    from facekd.verification import all_pairs

    return lambda: float(all_pairs(embed_crops(student, held, device), held.labels).tar_at(1e-3))


def _folder(recipe: Recipe, folder: Path, force: bool, resume: bool) -> RunFolder:
    if resume:
        run = RunFolder.open(folder)
        before = read_recipe(folder / "recipe.toml")
        changed = [k for k in Recipe.model_fields if getattr(before, k) != getattr(recipe, k)]
        if changed:
            raise UsageError(
                f"{folder} was begun with another recipe: {', '.join(changed)} changed",
                "Resume with the run's own recipe.toml, or start a new run.",
            )
        return run
    run = RunFolder.create(folder, force)
    (folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    return run


def write_card(recipe: Recipe, student: FaceNet, teacher: Teacher | None, run: RunFolder) -> Card:
    """The card of a run, without digest and space, which `facekd export` adds."""
    settings = ", ".join(f"{k}={v}" for k, v in recipe.student.settings.items())
    card = Card(
        name=run.path.name,
        architecture=f"{recipe.student.name}({settings})",
        input=student.input,
        crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=student.dim),
        teacher=Origin(name=teacher.name, space=teacher.space) if teacher else None,
        provenance=Provenance(
            data=recipe.data.name,
            recipe=", ".join(f"{table.weight:g} {table.name}" for table in recipe.loss),
            seed=recipe.seed,
            date=datetime.date.today().isoformat(),
            images_seen=recipe.schedule.steps * recipe.schedule.batch,
        ),
        licence=recipe.data.licence,
    )
    (run.path / "card.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card


def _distinct(recipe: Recipe, order: Order, crops: int) -> int:
    """How many of the views that the whole run shows differ, mirrored ones counted apart."""
    shown = recipe.schedule.steps * recipe.schedule.batch
    numbers = len(recipe.view_numbers(crops))
    if not numbers:
        return shown  # every one is fresh
    seen = np.zeros((crops, numbers, 2), bool)
    for position in range(shown):
        view = order.at(position)
        seen[view.crop, view.number, int(view.mirrored)] = True
    return int(seen.sum())


def _last_tar(run: RunFolder) -> float | None:
    found = [r["heldout_tar_1e-3"] for r in run.metrics() if "heldout_tar_1e-3" in r]
    return float(found[-1]) if found else None
