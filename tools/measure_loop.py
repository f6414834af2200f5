"""Measure how much of the network's own speed the training loop reaches.

    python tools/measure_loop.py recipe.toml --rounds 3
    python tools/measure_loop.py recipe.toml --rounds 3 --batch 256 --optimizer adamw

On the recipe's student, batch and machine, in turn: the bare pass (forward, 1 - cos, backward, no
optimizer, no data), the bare step (with the optimizer), the loop with cached targets and kept views,
the loop with cached targets alone, the loop with the teacher online, and the naive loop
(float32, online). Prints images per second, the median of the rounds, and each as a share of the bare
pass of its round, again the median; and the share of its own time that each spends in the student's
passes, which does not change when the machine slows down and recovers. Without bf16, the naive
loop equals the one before.

The caches are filled first if they are not; `--share 0.1` uses a tenth of the crops, which is
as fast and labelled sooner. Run it on an idle machine.
"""

from __future__ import annotations

import pkgutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import click
import torch
from lightning_fabric import Fabric

from facekd.cli import run
from facekd.distillation import (
    SILENT,
    DistillTask,
    Recipe,
    check_recipe,
    read_recipe,
    run_recipe,
)
from facekd.errors import UsageError
from facekd.files import target_folder
from facekd.models import build_model
from facekd.runtime import threads_available
from facekd.training import RunFolder, choose_precision, make_optimizers
from facekd.training.data import Batch


class Speed(NamedTuple):
    """Images per second, and the share of the time spent in the student's passes."""

    images: float
    passes: float = 1.0


def bare(recipe: Recipe, steps: int, optimize: bool, half: bool) -> Speed:
    """The student alone on one batch of noise."""
    schedule = recipe.schedule
    net = build_model(recipe.student.name, **recipe.student.settings).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = make_optimizers(net, [net], schedule.optimizer, schedule.rate, schedule.decay)
    size = net.input.size
    planes = torch.randn(schedule.batch, 3, size, size).to(memory_format=torch.channels_last)
    wanted = torch.randn(schedule.batch, net.dim)
    in_passes = 0.0
    for step in range(steps + 3):
        begun = time.perf_counter()
        if step == 3:
            started, in_passes = begun, 0.0
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = net(planes)
        (1 - torch.cosine_similarity(out.float(), wanted)).mean().backward()
        in_passes += time.perf_counter() - begun
        for optimizer in optimizers if optimize else ():
            optimizer.step()
        net.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - started
    return Speed(steps * schedule.batch / seconds, in_passes / seconds)


def changed(recipe: Recipe, **changes: dict[str, Any]) -> Recipe:
    """``recipe`` with other settings, table by table."""
    raw = recipe.model_dump()
    for table, settings in changes.items():
        raw[table].update(settings)
    return check_recipe(raw, "the measured recipe")


@contextmanager
def passes_timed() -> Iterator[list[float]]:
    """Record the seconds of each step in the student's forward and backward pass and its losses while this
    is open, without the time of the teacher or its cache."""
    spent: list[float] = []

    def counted(function: Callable[..., Any], sign: int) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            found = function(*given, **named)
            spent[-1] += sign * (time.perf_counter() - started)
            return found

        return call

    step = counted(DistillTask.step, 1)

    def opened(task: DistillTask, batch: Batch, progress: float) -> Any:
        spent.append(0.0)
        return step(task, batch, progress)

    with ExitStack() as patches:
        patches.enter_context(patch.object(DistillTask, "step", opened))
        patches.enter_context(patch.object(Fabric, "backward", counted(Fabric.backward, 1)))
        for name in ("cached_batch_targets", "asked_batch_targets"):
            place = f"facekd.distillation.teacher_knowledge.{name}"
            asked = partial(_counted_ask, pkgutil.resolve_name(place), counted)
            patches.enter_context(patch(place, asked))
        yield spent


def _counted_ask(make: Callable[..., Any], counted: Callable[..., Any], *given: Any) -> Any:
    return counted(make(*given), -1)


def loop(recipe: Recipe, steps: int) -> Speed:
    """``steps`` steps of the loop, without its start."""
    with tempfile.TemporaryDirectory() as folder, passes_timed() as spent:
        run = Path(folder) / "run"
        run_recipe(recipe, run, SILENT, cache=target_folder(), stop_after=steps)
        logged = [r for r in RunFolder(run).metrics() if "loss" in r]
    first, last = logged[1], logged[-1]  # the first step waits for the data
    seconds = last["seconds"] - first["seconds"]
    in_passes = sum(spent[first["step"] : last["step"]])
    return Speed((last["images"] - first["images"]) / seconds, in_passes / seconds)


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--steps", type=click.IntRange(60), default=60, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--batch", type=click.IntRange(2), default=None, help="Replace the recipe's batch size.")
@click.option("--optimizer", type=click.Choice(["adamw", "sgd", "muon"]), default=None, help="Likewise.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=None, help="Share of the crops.")
def main(
    recipe: Path, steps: int, rounds: int, batch: int | None, optimizer: str | None, share: float | None
) -> None:
    """Measure the loop of RECIPE."""
    stated = read_recipe(recipe)
    if stated.teacher is None:
        raise UsageError("this recipe has no [teacher]")
    torch.set_num_threads(threads_available())
    size = batch or stated.schedule.batch
    net = build_model(stated.student.name, **stated.student.settings)
    chosen = choose_precision(stated.schedule.precision, net, net.input.size, size)
    # the end is not reached, so nothing is evaluated, and only the views of these steps are labelled
    short: dict[str, Any] = {"images": (steps + 10) * size, "batch": size, "evaluations": 1}
    short |= {"precision": chosen.precision} | ({"optimizer": optimizer} if optimizer else {})
    cached = changed(stated, schedule=short, data={"share": share} if share else {})
    kept = changed(cached, teacher={"keep_views": True})
    online = changed(cached, teacher={"targets": "online"})
    naive = changed(online, schedule={"precision": "float32"})
    half = chosen.precision == "bf16"
    ways: dict[str, Callable[[], Speed]] = {
        "bare pass": lambda: bare(cached, steps, False, half),
        "bare step": lambda: bare(cached, steps, True, half),
        "loop, cached targets, views kept": lambda: loop(kept, steps),
        "loop, cached targets": lambda: loop(cached, steps),
        "loop, teacher online": lambda: loop(online, steps),
    }
    if half:  # else that is the one before
        ways["naive: float32, online"] = lambda: loop(naive, steps)
    loop(kept, 40)  # fills the caches
    found: dict[str, list[Speed]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    click.echo(
        f"{stated.student.name}, batch {size}, {cached.schedule.optimizer}, {chosen}, "
        f"{threads_available()} threads"
    )
    click.echo("| | images/s | share of the bare pass | of its time in passes |")
    click.echo("| --- | --- | --- | --- |")
    for name, speeds in found.items():
        rates = [speed.images for speed in speeds]
        shares = [rate / bare.images for rate, bare in zip(rates, found["bare pass"], strict=True)]
        passes = [speed.passes for speed in speeds]
        click.echo(
            f"| {name} | {statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f}) "
            f"| {_spread(shares)} | {_spread(passes)} |"
        )


def _spread(shares: list[float]) -> str:
    return f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"


if __name__ == "__main__":
    raise SystemExit(run(main))
