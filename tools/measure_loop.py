"""How much of the network's own speed the training loop keeps.

    python tools/measure_loop.py recipe.toml --steps 60 --rounds 3

On the recipe's student, batch and machine, in turn: the bare pass (forward, 1 - cos, backward, no
optimizer, no data), the bare step (with the optimizer), the loop with cached views, the loop with
the teacher online, and the naive loop (float32, online). Prints images a second, the median of the
rounds, and each as a share of the bare pass. The cache must be filled, or it is filled first. Run
it on an idle machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

from facekd.distill import Recipe, Report, read_recipe, run_recipe
from facekd.distill.recipe import check_recipe
from facekd.errors import UsageError
from facekd.models import build_model
from facekd.runtime import threads_available
from facekd.training import RunFolder, choose_precision
from facekd.training.schedule import make_optimizers
from facekd.workflows.train import cache_folder


def bare(recipe: Recipe, steps: int, optimize: bool, half: bool) -> float:
    """Images a second of the student alone on one batch of noise."""
    schedule = recipe.schedule
    net = build_model(recipe.student.name, **recipe.student.settings).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = make_optimizers(net, [net], schedule.optimizer, schedule.rate, schedule.decay)
    size = net.input.size
    planes = torch.randn(schedule.batch, 3, size, size).to(memory_format=torch.channels_last)
    wanted = torch.randn(schedule.batch, net.dim)
    for step in range(steps + 3):
        if step == 3:
            started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = net(planes)
        (1 - torch.cosine_similarity(out.float(), wanted)).mean().backward()
        for optimizer in optimizers if optimize else ():
            optimizer.step()
        net.zero_grad(set_to_none=True)
    return steps * schedule.batch / (time.perf_counter() - started)


def loop(recipe: Recipe, steps: int, **changes: dict[str, object]) -> float:
    """Images a second of ``steps`` steps of the loop, without its start."""
    raw = recipe.model_dump()
    for table, settings in changes.items():
        raw[table].update(settings)
    stated = check_recipe(raw, "the measured recipe")
    quiet = Report(lambda text: None, lambda done, total: None, lambda step: None)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run_recipe(stated, run, quiet, cache=cache_folder() / "targets", stop_after=steps)
        logged = [r for r in RunFolder(run).metrics() if "loss" in r]
    first, last = logged[1], logged[-1]  # the first step waits for the data
    return (last["images"] - first["images"]) / (last["seconds"] - first["seconds"])


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--steps", type=click.IntRange(60), default=60, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def main(recipe: Path, steps: int, rounds: int) -> None:
    """Measure the loop of RECIPE."""
    stated = read_recipe(recipe)
    if stated.teacher is None:
        raise UsageError("this recipe has no [teacher]")
    torch.set_num_threads(threads_available())
    net = build_model(stated.student.name, **stated.student.settings)
    chosen = choose_precision(stated.schedule.precision, net, net.input.size, stated.schedule.batch)
    half = chosen.precision == "bf16"
    ways: dict[str, Callable[[], float]] = {
        "bare pass": lambda: bare(stated, steps, False, half),
        "bare step": lambda: bare(stated, steps, True, half),
        "loop, cached views": lambda: loop(stated, steps, schedule={"precision": chosen.precision}),
        "loop, teacher online": lambda: loop(
            stated, steps, schedule={"precision": chosen.precision}, teacher={"targets": "online"}
        ),
        "naive: float32, online": lambda: loop(
            stated, steps, schedule={"precision": "float32"}, teacher={"targets": "online"}
        ),
    }
    loop(stated, 40)  # fills the cache
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    reference = statistics.median(found["bare pass"])
    click.echo(
        f"{stated.student.name}, batch {stated.schedule.batch}, {chosen}, {threads_available()} threads"
    )
    click.echo("| | images/s | share of the bare pass |")
    click.echo("| --- | --- | --- |")
    for name, rates in found.items():
        middle = statistics.median(rates)
        click.echo(
            f"| {name} | {middle:.0f} ({min(rates):.0f} to {max(rates):.0f}) | {middle / reference:.0%} |"
        )


if __name__ == "__main__":
    main()
