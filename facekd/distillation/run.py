"""From a recipe to a trained student: what `facekd distill` and `facekd train` do."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facekd.card import Card, EmbeddingSpec, LandmarkCrop, Origin, Provenance
from facekd.distillation.loss_builder import learning_teacher, parts_of, parts_of_teacher
from facekd.distillation.losses import loss_class
from facekd.distillation.recipe import LossTable, Recipe
from facekd.distillation.recipe_changes import told_changes
from facekd.distillation.recipe_files import require_files
from facekd.distillation.recipe_reading import read_recipe
from facekd.distillation.task import DistillTask, Gate
from facekd.distillation.teacher_classifier import write_classes
from facekd.distillation.teacher_targets import Asking, keep_shown, teacher_sight
from facekd.errors import FacekdError, RecipeError, UsageError
from facekd.files import write_atomically
from facekd.models import FaceNet, Teacher, build_model, start_from, to_planes, torch_device
from facekd.runtime import threads_available
from facekd.training import (
    Choice,
    Diverged,
    Progress,
    RunFolder,
    choose_precision,
    first_decides,
    fit,
    load_weights,
    make_fabric,
    processes,
    rank,
    seen_by_all,
    share_processors,
    started_processes,
    wait_for_all,
)
from facekd.training.data import (
    CropSet,
    EpochOrder,
    Order,
    PeopleOrder,
    ViewLoader,
    open_crops,
    open_identities,
    read_list,
)
from facekd.verification import AllPairs


@dataclass(frozen=True)
class Report:
    """What a run tells while it works; every field is called with text or counts. ``kept`` counts views
    that are kept decoded."""

    say: Callable[[str], None]
    labelled: Callable[[int, int], None]
    trained: Callable[[Progress], None]
    kept: Callable[[int, int], None] = lambda done, total: None


SILENT = Report(lambda text: None, lambda done, total: None, lambda progress: None)


#: the FMR at which the held-out people choose
_CHOOSING_FMR = 1e-3


@dataclass(frozen=True)
class Outcome:
    """What a run did, also in its last line of ``metrics.jsonl``. ``heldout_interval`` is the 95 % interval
    of ``heldout_tar`` over identities, `None` where the held-out people are too few for one (or were judged
    before the run was resumed)."""

    folder: Path
    images: int
    label_seconds: float
    train_seconds: float
    distinct_views: int
    heldout_tar: float | None
    heldout_interval: tuple[float, float] | None = None


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

    Of several processes, which `torchrun` starts, each works on its share of every batch, and the
    first alone speaks and writes. Raises the errors of the rooms it uses; `UsageError` where a
    resumed run's recipe is another; `InputOutput` where a process does not see the run folder.
    """
    torch_device(device)  # said before anything is read or written
    require_files(recipe, "the recipe")
    fabric = make_fabric(device)
    if rank() > 0:
        report = SILENT
    first_decides(lambda: _begin(recipe, folder, force, resume))
    run = RunFolder(folder, writes=rank() == 0)
    seen_by_all(f"the run folder {folder}", lambda: (_stated(folder), run.state("last")))
    report = replace(report, say=_also_noted(report.say, run))
    here = max(1, threads_available() // started_processes()[1])
    decodes = recipe.teacher is None or not recipe.teacher.keep_views
    threads, workers = share_processors(device, here, threads, workers, decodes)
    torch.set_num_threads(threads)
    try:
        ready = _prepare(recipe, cache, report, device, threads, workers)
    except FacekdError:
        if not resume and rank() == 0:
            run.discard()  # it never began
        raise
    first_decides(lambda: write_card(recipe, ready.task.student, ready.teacher, run))
    if any(loss_class(table.name).needs_labels for table in recipe.loss):
        first_decides(lambda: write_classes(run, ready.classes))
    chosen = first_decides(lambda: _precision(recipe, ready.task.student, run, device))
    shared = f"{threads} threads and {workers} decoding processes" if workers else f"{threads} threads"
    shared = f"{processes()} processes of {shared}" if processes() > 1 else shared
    report.say(f"training {recipe.student.name} on {device}, {shared}, {chosen}")
    started = time.perf_counter()
    images = fit(
        ready.task, ready.loader, ready.order, recipe.plan(chosen.precision), run,
        fabric, recipe.seed, resume, ready.judge, report.trained, stop_after,
    )  # fmt: skip
    wait_for_all()
    seconds = time.perf_counter() - started
    distinct = _distinct(recipe, ready.order, ready.crops)
    outcome = Outcome(run.path, images, ready.label_seconds, seconds, distinct, *_last_tar(run, ready.judge))
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
    """All that the loop needs; ``classes`` are the identities of the classes, ``label_seconds`` were spent
    on the teacher's targets and on views to keep."""

    task: DistillTask
    crops: int
    classes: tuple[str, ...]
    loader: ViewLoader
    order: Order
    judge: _HeldOut | None
    teacher: Teacher | None
    label_seconds: float


def _prepare(recipe: Recipe, cache: Path, report: Report, device: str, threads: int, workers: int) -> _Ready:
    """Read the crops, build the student, ask the teacher, build the losses."""
    schedule = recipe.schedule
    torch.manual_seed(recipe.seed)
    crops = training_crops(recipe)
    report.say(crops.describe())
    student = build_model(recipe.student.name, **recipe.student.settings)
    started = _start(recipe, student, report)
    judge = _judge(recipe, device) if rank() == 0 else None
    peer = learning_teacher(recipe)
    begun = time.perf_counter()
    asking = Asking(cache, device, threads, workers, report.say, report.labelled, report.kept)
    kept = keep_shown(recipe, crops, asking)
    sight = teacher_sight(recipe, crops, asking, kept)
    crops = sight.crops
    label_seconds = time.perf_counter() - begun
    torch.manual_seed(recipe.seed)  # whether targets had to be made must not change the start
    table = recipe.teacher
    gate = Gate(table.gate, sight.clean) if table and table.gate is not None and sight.clean else None
    peer_parts = parts_of_teacher(recipe, peer, sight) if peer else []
    parts = parts_of(recipe, student, sight, started, peer, peer_parts)
    task = DistillTask(
        student, parts, sight.ask, sight.own, schedule.start_size, schedule.start_share,
        recipe.mixing, gate, peer, peer_parts,
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
    return _Ready(task, len(crops), sight.classes.names, loader, order, judge, sight.teacher, label_seconds)


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
    crops = crops.sampled(data.share) if data.share < 1 else crops
    if not len(crops):
        raise UsageError(f"data.share = {data.share:g} leaves no crop")
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


def _start(recipe: Recipe, student: FaceNet, report: Report) -> Mapping[str, Tensor]:
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


class _HeldOut:
    """Judges a student by TAR over all pairs of the held-out crops that choose; keeps the last one's."""

    def __init__(self, crops: CropSet, device: str) -> None:
        self._crops, self._device = crops, device
        self._pairs: AllPairs | None = None

    def __call__(self, student: nn.Module) -> float:
        from facekd.verification import all_pairs

        assert isinstance(student, FaceNet)
        rows = embed_crops(student, self._crops, self._device)
        lost = int((~np.isfinite(rows)).any(axis=1).sum())
        if lost:
            raise Diverged(
                f"the student gives no numbers any more for {lost} of {len(rows)} held-out crops",
                "Lower the learning rate.",
            )
        self._pairs = all_pairs(rows, self._crops.labels)
        return float(self._pairs.tar_at(_CHOOSING_FMR))

    def interval(self) -> tuple[float, float] | None:
        """Of the last one's TAR, 95 %, over identities."""
        found = self._pairs.operating_point(_CHOOSING_FMR).interval if self._pairs else None
        return (found.low, found.high) if found else None


def _judge(recipe: Recipe, device: str) -> _HeldOut | None:
    held = heldout_crops(recipe, "choose")
    if held is None:
        return None
    if len(held.people) < 2 or held.counts().max() < 2:
        raise RecipeError(
            f"{recipe.data.heldout}: choosing a checkpoint needs at least two identities with two crops",
            "They are taken from the odd lines of the list.",
        )
    return _HeldOut(held, device)


def _begin(recipe: Recipe, folder: Path, force: bool, resume: bool) -> None:
    """Make the run folder, or see that the one to go on with was begun with the same recipe."""
    if resume:
        run = RunFolder.open(folder)
        begun = read_recipe(folder / "recipe.toml")
        longer = _extended(begun, recipe, run)
        changes = told_changes(longer or begun, recipe)
        if changes:
            raise UsageError(
                f"{folder} was begun with another recipe: {changes}",
                "Resume with the run's own recipe.toml, or start a new run.",
            )
        if longer:
            write_atomically(folder / "recipe.toml", longer.to_toml().encode())
        return
    RunFolder.create(folder, force)
    (folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")


def _extended(begun: Recipe, recipe: Recipe, run: RunFolder) -> Recipe | None:
    """The recipe of a run with the length of ``recipe``, where that is another and the run can have it: its
    rate is constant until the last part (``wsd``), which begins after what it has a checkpoint of."""
    images = recipe.schedule.images
    if begun.schedule.shape != "wsd" or images == begun.schedule.images:
        return None
    longer = begun.model_copy(update={"schedule": begun.schedule.model_copy(update={"images": images})})
    done, stable = run.state("stable").get("step", 0), longer.plan("float32").stable_steps
    if stable is None or done > stable:
        raise UsageError(
            f"the rate of {images:,} images begins to fall before the {done * recipe.schedule.batch:,} that "
            f"{run.path} has seen",
            "Ask for more images.",
        )
    return longer


def _stated(folder: Path) -> str | None:
    """The text of a run folder's recipe; `None` where there is none."""
    file = folder / "recipe.toml"
    return file.read_text(encoding="utf-8") if file.is_file() else None


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
            recipe=", ".join(_said(table) for table in recipe.loss),
            seed=recipe.seed,
            date=datetime.date.today().isoformat(),
            images_seen=recipe.schedule.steps * recipe.schedule.batch,
        ),
        licence=recipe.data.licence,
    )
    (run.path / "card.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card


def _said(table: LossTable) -> str:
    """A loss with its weight, and when it works, in a few words."""
    last = "" if table.final_weight is None else f" to {table.final_weight:g}"
    when = "" if (table.begin, table.end) == (0, 1) else f" from {table.begin:g} to {table.end:g}"
    return f"{table.weight:g}{last} {table.name}{when}"


def _distinct(recipe: Recipe, order: Order, crops: int) -> int:
    """How many of the views that the whole run shows differ, mirrored ones counted apart."""
    shown = recipe.schedule.steps * recipe.schedule.batch
    if recipe.teacher is None or not recipe.teacher.repeats:
        return shown  # every one is fresh
    numbers = len(recipe.view_numbers(crops))
    seen = np.zeros((crops, numbers, 2), bool)
    for position in range(shown):
        view = order.at(position)
        seen[view.crop, view.number, int(view.mirrored)] = True
    return int(seen.sum())


def _last_tar(run: RunFolder, judge: _HeldOut | None) -> tuple[float | None, tuple[float, float] | None]:
    """What the last look at the held-out people found, with its interval."""
    found = [r["heldout_tar_1e-3"] for r in run.metrics() if "heldout_tar_1e-3" in r]
    return (float(found[-1]) if found else None), (judge.interval() if judge else None)
