"""From a recipe to a trained student: what `facekd distill` and `facekd train` do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facekd.distillation.heldout_judge import HeldOutJudge
from facekd.distillation.losses import loss_class
from facekd.distillation.preparation import TEACHER_SCORE, Prepared, prepare
from facekd.distillation.recipe import Recipe
from facekd.distillation.recipe_files import require_files
from facekd.distillation.report import SILENT, Report, also_noted
from facekd.distillation.resume import begin_run, stated_recipe
from facekd.distillation.run_card import write_card
from facekd.distillation.teacher_classifier import write_classes
from facekd.distillation.teacher_query import TeacherQuery
from facekd.errors import FacekdError
from facekd.models import FaceNet, torch_device
from facekd.runtime import threads_available
from facekd.training import (
    SCORE,
    Choice,
    Progress,
    RunFolder,
    StopRequest,
    choose_precision,
    first_decides,
    fit,
    locked_run,
    make_fabric,
    processes,
    rank,
    seen_by_all,
    share_processors,
    started_processes,
    stoppable,
    wait_for_all,
)
from facekd.training.data import Order


@dataclass(frozen=True)
class Outcome:
    """What a run did, also in its last line of ``metrics.jsonl``. ``heldout_interval`` is the 95 % interval
    of ``heldout_tar`` over identities, `None` where the held-out people are too few for one (or were judged
    before the run was resumed); ``teacher_heldout_tar`` is the teacher's own."""

    folder: Path
    images: int
    label_seconds: float
    train_seconds: float
    distinct_views: int
    heldout_tar: float | None
    heldout_interval: tuple[float, float] | None = None
    teacher_heldout_tar: float | None = None


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
    resumed run was begun with something else, another process trains in ``folder``, or the teacher is not
    worth learning from; `InputOutput` where a process does not see the run folder.

    Ctrl-C ends it with `KeyboardInterrupt`, SIGTERM with `Terminated`, once a checkpoint is written.
    """
    torch_device(device)  # said before anything is read or written
    require_files(recipe, "the recipe")
    fabric = make_fabric(device)
    with contextlib.ExitStack() as held:
        first_decides(lambda: held.enter_context(locked_run(folder)) and None)
        stop = held.enter_context(stoppable())
        begun = False
        try:
            first_decides(lambda: begin_run(recipe, folder, force, resume))
            begun = True
            run = RunFolder(folder, writes=rank() == 0)
            seen_by_all(f"the run folder {folder}", lambda: (stated_recipe(folder), run.state("last")))
            query = _query(recipe, run, report if rank() == 0 else SILENT, cache, device, threads, workers)
            torch.set_num_threads(query.threads)
            ready = prepare(recipe, run, resume, query)
        except (FacekdError, KeyboardInterrupt):
            if begun and not resume and rank() == 0:
                RunFolder(folder).discard()  # it never began
            raise
        trained = report.trained if rank() == 0 else SILENT.trained
        return _train(recipe, run, ready, query, fabric, resume, trained, stop_after, stop)


def _query(
    recipe: Recipe,
    run: RunFolder,
    report: Report,
    cache: Path,
    device: str,
    threads: int | None,
    workers: int | None,
) -> TeacherQuery:
    """How the teacher is asked, with the threads and processes that are there; what is said goes into the
    run's log as well."""
    here = max(1, threads_available() // started_processes()[1])
    decodes = recipe.teacher is None or not recipe.teacher.keep_views
    threads, workers = share_processors(device, here, threads, workers, decodes)
    say = also_noted(report.say, run)
    return TeacherQuery(cache, device, threads, workers, say, report.labelled, report.kept)


def _train(
    recipe: Recipe,
    run: RunFolder,
    ready: Prepared,
    query: TeacherQuery,
    fabric: Any,
    resume: bool,
    trained: Callable[[Progress], None],
    stop_after: int | None,
    stop: StopRequest,
) -> Outcome:
    """The loop, with what is written before and after it."""
    device, threads, workers = query.device, query.threads, query.workers
    first_decides(lambda: write_card(recipe, ready.task.student, ready.teacher, run))
    if any(loss_class(table.name).needs_labels for table in recipe.loss):
        first_decides(lambda: write_classes(run, ready.classes))
    chosen = first_decides(lambda: _precision(recipe, ready.task.student, run, device))
    shared = f"{threads} threads and {workers} decoding processes" if workers else f"{threads} threads"
    shared = f"{processes()} processes of {shared}" if processes() > 1 else shared
    query.say(f"training {recipe.student.name} on {device}, {shared}, {chosen}")
    started = time.perf_counter()
    try:
        images = fit(
            ready.task, ready.loader, ready.order, recipe.plan(chosen.precision), run,
            fabric, recipe.seed, resume, ready.judge, trained, stop_after, stop, ready.contract,
        )  # fmt: skip
    except KeyboardInterrupt:
        if run.has("last"):
            seen = run.state()["images"]
            query.say(f"stopped: there is a checkpoint after {seen:,} images; go on with --resume")
        raise
    wait_for_all()
    seconds = time.perf_counter() - started
    distinct = _distinct(recipe, ready.order, len(ready.loader.crops))
    teachers = next((r[TEACHER_SCORE] for r in run.metrics() if TEACHER_SCORE in r), None)
    outcome = Outcome(
        run.path, images, ready.label_seconds, seconds, distinct, *_last_tar(run, ready.judge), teachers
    )
    if stop_after is None:
        run.log(
            {
                "finished": True,
                "images": images,
                "label_seconds": round(outcome.label_seconds, 1),
                "train_seconds": round(seconds, 1),
                "distinct_views": distinct,
                "heldout_interval": outcome.heldout_interval,
            }
        )
    return outcome


def _precision(recipe: Recipe, student: FaceNet, run: RunFolder, device: str) -> Choice:
    """What the run was begun in, if it has a checkpoint, so that it goes on to the last bit the
    same; else what is asked for or found to be faster."""
    schedule, begun = recipe.schedule, run.state().get("precision")
    if begun:
        return Choice(begun)
    return choose_precision(schedule.precision, student, student.input.size, schedule.batch, device)


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


def _last_tar(run: RunFolder, judge: HeldOutJudge | None) -> tuple[float | None, tuple[float, float] | None]:
    """What the last look at the held-out people found, with its interval."""
    found = [r[SCORE] for r in run.metrics() if SCORE in r]
    return (float(found[-1]) if found else None), (judge.interval() if judge else None)
