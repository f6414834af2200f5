"""Train a student from a recipe: the work of `facekd distill` and `facekd train`."""

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
    """The result of a run, also the last line of its ``metrics.jsonl``. ``heldout_interval`` is the 95 %
    interval of ``heldout_tar`` over identities, `None` if there are too few held-out people (or the run was
    resumed after the evaluation); ``teacher_heldout_tar`` is the teacher's own."""

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

    With several processes, started by `torchrun`, each works on its share of every batch, and only
    the first prints and writes. Raises the errors of the packages it uses; `UsageError` if a resumed run
    was started with different inputs, another process trains in ``folder``, or the teacher is too weak;
    `InputOutput` if a process does not see the run folder.

    Ctrl-C ends it with `KeyboardInterrupt`, SIGTERM with `Terminated`, after a checkpoint is written.
    """
    torch_device(device)  # fails before anything is read or written
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
                RunFolder(folder).discard()  # it never started
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
    """The settings for querying the teacher, with the available threads and processes; messages also go to
    the run's log."""
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
    """Run the loop, and write the files before and after it."""
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
            query.say(f"stopped: the checkpoint is after {seen:,} images; continue with --resume")
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
    """The precision of the run's checkpoint, if there is one, so that resuming gives exactly the same
    result; otherwise the requested or the faster one."""
    schedule, begun = recipe.schedule, run.state().get("precision")
    if begun:
        return Choice(begun)
    return choose_precision(schedule.precision, student, student.input.size, schedule.batch, device)


def _distinct(recipe: Recipe, order: Order, crops: int) -> int:
    """How many distinct views the whole run uses, with mirrored views counted separately."""
    shown = recipe.schedule.steps * recipe.schedule.batch
    if recipe.teacher is None or not recipe.teacher.repeats:
        return shown  # every view is new
    numbers = len(recipe.view_numbers(crops))
    seen = np.zeros((crops, numbers, 2), bool)
    for position in range(shown):
        view = order.at(position)
        seen[view.crop, view.number, int(view.mirrored)] = True
    return int(seen.sum())


def _last_tar(run: RunFolder, judge: HeldOutJudge | None) -> tuple[float | None, tuple[float, float] | None]:
    """The last held-out TAR, with its interval."""
    found = [r[SCORE] for r in run.metrics() if SCORE in r]
    return (float(found[-1]) if found else None), (judge.interval() if judge else None)
