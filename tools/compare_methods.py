"""Compare many distillation methods with one student, one teacher and one schedule.

    python tools/compare_methods.py recipe.toml --out runs/methods --images 200000 --seeds 0 --seeds 1 \\
        --data lfw-crops.zip --pairs lfw_pairs.txt

Methods that name one of your models, such as `$MAPS`, take it from `--set MAPS=timm:NAME:FILE`.

Compares the recipe's training crops with the test photos by its teacher, as `facekd data check --recipe`
does, and stops if they share people.
Trains a student for every method of `tools/methods.toml` and every seed into a run folder of its
own (a finished one is reused, an interrupted one continues), exports each, and evaluates all of
them by LFW's protocol on aligned crops. Without `--data` and `--pairs` they are evaluated on the
recipe's held-out people only: use this to choose without looking at the test. `--jobs 2` trains two
at a time, each on half of the processors, which takes less time than one after the other. With
`--rate-steps 60` every method is then timed over that many steps, in turn and `--rate-rounds` times, which
needs an idle machine; with `--rates-only` nothing else is done.

Prints a Markdown table of means over the seeds: TAR on the recipe's held-out people that choose, LFW
accuracy, all-pairs TAR, for each the paired difference from the first method with its 95 % interval,
and images per second. Intervals of TARs, over identities, are means of the seeds' own: the same people
are evaluated, so averaging over seeds hardly reduces the variation between people. They do not include the
variation between seeds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import statistics
import tempfile
import tomllib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from facekd.cli import run
from facekd.cli.output import progress, say
from facekd.distillation import (
    SILENT,
    Recipe,
    check_recipe,
    heldout_crops,
    read_recipe,
    run_recipe,
    training_crops,
)
from facekd.errors import UsageError
from facekd.export import export
from facekd.files import target_folder
from facekd.runtime import load_embedder
from facekd.training import Augmentation, RunFolder
from facekd.verification import (
    AllPairs,
    OperatingPoint,
    all_pairs,
    clustered_error,
    students_multiple,
    tar_difference,
)
from facekd.verification.protocols import open_protocol
from facekd.verification.results import ModelResult
from facekd.workflows import (
    check_overlap,
    count_images,
    embedded_set,
    evaluate_models,
    first_teacher,
    train_recipe,
)

#: the FMRs of the all-pairs TARs in the table
FMRS = (1e-3, 1e-4)
#: a method's name and a seed
Run = tuple[str, int]


class Rate(NamedTuple):
    """Images per second, and as a multiple of the first method's."""

    images: float
    share: float

    def __str__(self) -> str:
        return f"{self.images:.0f} ({self.share:.2f})"


def changed(
    base: Recipe, method: dict[str, Any], images: int | None, seed: int, named: dict[str, str] | None = None
) -> Recipe:
    """The base recipe with a method's losses and the changes in its ``recipe``, table by table;
    ``teacher = false`` is the baseline, ``clean`` leaves the augmentation out. A value ``$NAME`` is
    replaced from ``named``."""
    unknown = set(method) - {"name", "loss", "teacher", "clean", "recipe"}
    if unknown:
        raise UsageError(f"method '{method.get('name')}': no such setting: {', '.join(sorted(unknown))}")
    recipe = base if method.get("teacher", True) else base.without_teacher()
    raw = recipe.model_dump()
    raw["seed"] = seed
    raw["loss"] = method.get("loss", raw["loss"])
    if images:
        raw["schedule"]["images"] = images
    if method.get("clean"):
        raw["augmentation"] = Augmentation().model_dump()
    stated = _filled(method.get("recipe", {}), named or {}, method["name"])
    return check_recipe(_overlaid(raw, stated), f"method '{method['name']}'")


def _overlaid(base: dict[str, Any], stated: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``stated`` in their place, table by table to any depth."""
    deeper = {
        key: _overlaid(base.get(key) or {}, value) for key, value in stated.items() if isinstance(value, dict)
    }
    return base | stated | deeper


def _filled(value: Any, named: dict[str, str], method: str) -> Any:
    """``value`` with each ``$NAME`` in it replaced."""
    if isinstance(value, dict):
        return {key: _filled(inside, named, method) for key, inside in value.items()}
    if isinstance(value, list):
        return [_filled(inside, named, method) for inside in value]
    if not (isinstance(value, str) and value.startswith("$")):
        return value
    if value[1:] not in named:
        raise UsageError(f"method '{method}' needs --set {value[1:]}=VALUE")
    return named[value[1:]]


def student_of(recipe: Recipe, folder: Path) -> Path:
    """The exported student of a run, trained now if it does not exist."""
    begun = (folder / "recipe.toml").is_file()
    finished = begun and any(r.get("finished") for r in RunFolder(folder).metrics())
    if not finished:
        has_checkpoint = begun and RunFolder(folder).has("last")
        train_recipe(recipe, folder, say, progress, force=begun and not has_checkpoint, resume=has_checkpoint)
    file = folder / "student.onnx"
    if not file.is_file():
        export(str(folder), None, (), tell=say)
    return file


def train_all(runs: list[tuple[Recipe, Path]], jobs: int) -> list[Path]:
    """`student_of` each recipe in its folder, ``jobs`` of them at once, each on its own processors."""
    if jobs == 1:
        return [_announced(recipe, folder) for recipe, folder in runs]
    free = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    shares = context.Queue()
    for share in range(jobs):
        shares.put(free[share::jobs])
    with ProcessPoolExecutor(jobs, context, _settle, (shares,)) as pool:
        return list(pool.map(_announced, *zip(*runs, strict=True)))


def _settle(shares: Any) -> None:
    """Pin this process to the next share of the processors."""
    os.sched_setaffinity(0, shares.get())


def _announced(recipe: Recipe, folder: Path) -> Path:
    say(folder.name)
    return student_of(recipe, folder)


def heldout_pairs(recipe: Recipe, model: Path) -> AllPairs:
    """All pairs of the held-out people that choose."""
    held = heldout_crops(recipe, "choose")
    if held is None:
        raise UsageError("the base recipe has no held-out people")
    embedder = load_embedder(model)
    parts = [range(i, min(i + 256, len(held))) for i in range(0, len(held), 256)]
    rows = [embedder.embed(np.stack([held.read(i) for i in part])) for part in parts]
    return all_pairs(np.concatenate(rows), held.labels)


def checked_apart(recipe: Recipe, data: Path, kept: Path) -> None:
    """Report how similar the training crops and the test's photos are, by the recipe's first teacher;
    once for the same crops and files, recorded in ``kept``. Raises `Misfit` if they share people,
    `UsageError` if the teacher is not an ONNX file."""
    model, crops = first_teacher(recipe), training_crops(recipe)
    packs = [source.path for source in crops.sources]
    files = [f"{path}, {path.stat().st_size} bytes" for path in (*packs, data, model)]
    files.append(f"{len(crops)} crops, {crops.digest}")
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if known.get("files") != files:
        with progress("compare with the test", len(crops) + count_images(data)) as advance:
            ours = embedded_set(crops, model, say=say, advance=advance)
            found = check_overlap(ours, data, model, detector=None, advance=advance)
        found.refuse()
        highest = f", the highest {found.near[0].cosine:.2f}" if found.near else ""
        alike = f", like {len(found.people)} people of it" if found.people else ""
        told = (
            f"{found.crops:,} crops trained on against {found.photos:,} photos of the test: "
            f"{len(found.near)} with a cosine of 0.5 or more{highest}{alike}"
        )
        known = {"files": files, "told": told}
        kept.write_text(json.dumps(known, indent=1), encoding="utf-8")
    say(known["told"])


def accuracy_points(reference: list[ModelResult], other: list[ModelResult]) -> str:
    """The difference in LFW accuracy in points, mean over seeds, with its 95 % interval: each
    pair counts with the mean over its seeds, and pairs that share a person are dependent."""
    rows = [
        o.result.right.astype(float) - r.result.right.astype(float)
        for r, o in zip(reference, other, strict=True)
    ]
    each, people = np.mean(rows, axis=0), reference[0].result.pair_people
    half = clustered_error(each - each.mean(), people) * students_multiple(np.unique(people).size)
    return between(each.mean(), each.mean() - half, each.mean() + half)


def accuracies(models: list[ModelResult]) -> str:
    """LFW accuracy and the ends of its interval over folds, means over the seeds."""
    found = [m.result.accuracy for m in models]
    ends = [(a.mean, a.interval.low, a.interval.high) for a in found]
    mean, low, high = 100 * np.mean(ends, axis=0)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def tar_points(reference: list[AllPairs], other: list[AllPairs], fmr: float = 1e-3) -> str:
    """The difference in all-pairs TAR in points, mean over seeds, and likewise the interval's ends; or why
    there is none."""
    try:
        found = [tar_difference(r, o, fmr) for r, o in zip(reference, other, strict=True)]
    except UsageError as error:
        return error.cause
    ends = [(f.value, f.interval.low, f.interval.high) for f in found]
    return between(*np.mean(ends, axis=0).tolist())


def between(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def rate_of(recipe: Recipe, steps: int) -> float:
    """Images per second over ``steps`` steps of a new run, without its start and first step."""
    raw = recipe.model_dump()
    # the end is not reached, so nothing is evaluated, and only the views of these steps are labelled
    raw["schedule"] |= {"images": (steps + 10) * recipe.schedule.batch, "evaluations": 1}
    short = check_recipe(raw, "the timed recipe")
    with tempfile.TemporaryDirectory() as folder:
        run_recipe(short, Path(folder) / "run", SILENT, cache=target_folder(), stop_after=steps)
        logged = [r for r in RunFolder(Path(folder) / "run").metrics() if "loss" in r]
    return float(
        (logged[-1]["images"] - logged[0]["images"]) / (logged[-1]["seconds"] - logged[0]["seconds"])
    )


def rates_of(recipes: dict[str, Recipe], steps: int, rounds: int) -> dict[str, Rate]:
    """Images per second of each recipe, and as a multiple of the first's: all of them in turn, ``rounds``
    times, the median of the rounds. The first is timed once more in advance, without being counted, so that
    everything it needs exists."""
    first = next(iter(recipes))
    rate_of(recipes[first], steps)
    found: list[dict[str, float]] = []
    for turn in range(rounds):
        found.append({})
        for name, recipe in recipes.items():
            found[turn][name] = rate_of(recipe, steps)
            say(f"{name}: {found[turn][name]:.0f} images/s")
    return {
        name: Rate(
            statistics.median(one[name] for one in found),
            statistics.median(one[name] / one[first] for one in found),
        )
        for name in recipes
    }


def percent(points: list[OperatingPoint]) -> str:
    """Means of the TARs and of their intervals' ends."""
    known = [(p.tar, p.interval.low, p.interval.high) for p in points if p.tar is not None and p.interval]
    if len(known) < len(points):
        return next((p.shortfall for p in points if p.shortfall), "-")
    tar, low, high = 100 * np.mean(known, axis=0)
    return f"{tar:.1f} [{low:.1f}, {high:.1f}]"


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the runs.")
@click.option("--methods", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--only", multiple=True, help="Only methods with this name (and the first).")
@click.option("--images", type=int, default=None, help="Images seen by every run.")
@click.option("--seeds", type=int, multiple=True, default=(0, 1), show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Runs to train at once.")
@click.option("--rate-steps", type=click.IntRange(40), default=None, help="Time every method over this many.")
@click.option("--rate-rounds", type=click.IntRange(1), default=2, show_default=True)
@click.option("--rates-only", is_flag=True, help="With --rate-steps: train nothing.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="The value of $NAME in methods.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=None, help="Aligned crops.")
@click.option("--pairs", type=click.Path(exists=True, path_type=Path), default=None)
def main(
    recipe: Path,
    out: Path,
    methods: Path | None,
    only: tuple[str, ...],
    images: int | None,
    seeds: tuple[int, ...],
    jobs: int,
    rate_steps: int | None,
    rate_rounds: int,
    rates_only: bool,
    settings: tuple[str, ...],
    data: Path | None,
    pairs: Path | None,
) -> None:
    """Compare the methods on RECIPE."""
    if (data is None) != (pairs is None):
        raise UsageError("--data and --pairs must be given together")
    if rates_only and not rate_steps:
        raise UsageError("--rates-only needs --rate-steps")
    base = read_recipe(recipe)
    file = methods or Path(__file__).with_name("methods.toml")
    listed = tomllib.loads(file.read_text(encoding="utf-8"))["method"]
    chosen = [m for place, m in enumerate(listed) if not only or place == 0 or m["name"] in only]
    named = dict(setting.partition("=")[::2] for setting in settings)
    # all are checked before the first is trained
    recipes = {(m["name"], seed): changed(base, m, images, seed, named) for seed in seeds for m in chosen}
    folders = {
        (name, seed): out / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-s{seed}" for name, seed in recipes
    }
    out.mkdir(parents=True, exist_ok=True)
    names = [m["name"] for m in chosen]
    timed = {name: recipes[name, seeds[0]] for name in names}
    if rates_only:
        assert rate_steps
        rates = rates_of(timed, rate_steps, rate_rounds)
        told = {name: rate._asdict() for name, rate in rates.items()}
        (out / "rates.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        click.echo("\n".join(f"| {name} | {rate} |" for name, rate in rates.items()))
        return
    if data is not None:
        checked_apart(base, data, out / "overlap.json")
    students = train_all(list(zip(recipes.values(), folders.values(), strict=True)), jobs)
    files = dict(zip(recipes, students, strict=True))
    results: dict[Run, ModelResult] = {}
    if data is not None and pairs is not None:
        protocol = open_protocol("lfw", pairs)
        with progress("evaluate", len(protocol.photos)) as advance:
            found = evaluate_models(list(files.values()), protocol, data, detector=None, advance=advance)
        results = dict(zip(files, found.models, strict=True))
    held = {key: heldout_pairs(base, path) for key, path in files.items()}
    rates = rates_of(timed, rate_steps, rate_rounds) if rate_steps else {}
    write(out / "table.md", out / "table.json", names, seeds, results, held, rates)


def write(
    table: Path,
    numbers: Path,
    names: list[str],
    seeds: tuple[int, ...],
    results: dict[Run, ModelResult],
    held: dict[Run, AllPairs],
    rates: dict[str, Rate],
) -> None:
    """The table as Markdown, to the terminal too, and its numbers as JSON."""
    judged = ["LFW", "against the first"]
    for fmr in FMRS:
        judged += [f"TAR at FMR {fmr:.0e}".replace("e-0", "e-"), "against the first"]
    head = ["method", "held-out TAR at FMR 1e-3", "against the first"]
    head += (judged if results else []) + (["images/s (of the first)"] if rates else [])
    rows, told = [], []
    for name in names:
        runs, first = [(name, seed) for seed in seeds], [(names[0], seed) for seed in seeds]
        choosing = [held[run].operating_point(1e-3) for run in runs]
        against: dict[str, str] = {}
        if name != names[0]:
            against["heldout"] = tar_points([held[run] for run in first], [held[run] for run in runs])
        cells = [name, percent(choosing), against.get("heldout", "-")]
        mine = [results[run] for run in runs] if results else []
        if mine:
            theirs = [results[run] for run in first]
            if name != names[0]:
                against["lfw"] = accuracy_points(theirs, mine)
            cells += [accuracies(mine), against.get("lfw", "-")]
            for fmr in FMRS:
                if name != names[0]:
                    both = ([m.result.everyone for m in models] for models in (theirs, mine))
                    against[f"tar_{fmr:g}"] = tar_points(next(both), next(both), fmr)
                cells += [percent([_all_pairs(m, fmr) for m in mine]), against.get(f"tar_{fmr:g}", "-")]
        cells += [str(rates[name])] if rates else []
        told.append(cells)
        rows.append(
            {
                "method": name,
                "seeds": list(seeds),
                "heldout": [point.to_dict() for point in choosing],
                "lfw": [m.result.to_dict() for m in mine],
                "against_the_first": against or None,
                "images_per_second": rates[name].images if rates else None,
                "rate_of_the_first": rates[name].share if rates else None,
            }
        )
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *told)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    numbers.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    click.echo("\n".join(lines))


def _all_pairs(model: ModelResult, fmr: float) -> OperatingPoint:
    return next(point for point in model.result.everyone_points if point.fmr == fmr)


if __name__ == "__main__":
    raise SystemExit(run(main))
