"""Train by a recipe, with the changes of a call and with progress; and the result of a run for Python."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.distillation import (
    CropCopy,
    Outcome,
    Recipe,
    Report,
    check_recipe,
    heldout_copies,
    read_recipe,
    run_recipe,
    training_crops,
)
from facekd.files import target_folder
from facekd.models import FaceNet
from facekd.models.teachers import load_network, load_teacher
from facekd.reporting import write_learning_curve, write_run_page
from facekd.training import Progress, RunFolder, rank
from facekd.training.data import require_usable

if TYPE_CHECKING:
    from facekd.export import Exported

_logger = logging.getLogger("facekd.train")

#: opens a progress bar: takes a title and a total, yields ``advance(done, note)``
OpenBar = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]


def adapted(
    path: Path, teachers: tuple[str, ...], no_teacher: bool, images: int | None, seed: int | None
) -> Recipe:
    """The recipe in ``path`` with the changes of a call, checked again."""
    recipe = read_recipe(path)
    if no_teacher:
        recipe = recipe.without_teacher()
    changed: dict[str, Any] = recipe.model_dump()
    if teachers:
        changed["teacher"] = {**(changed["teacher"] or {}), "models": teachers}
    if images is not None:
        changed["schedule"]["images"] = images
    if seed is not None:
        changed["seed"] = seed
    return check_recipe(changed, str(path))


def check_training_data(recipe: Recipe, say: Callable[[str], None]) -> tuple[str, tuple[CropCopy, ...]]:
    """A summary of the data of ``recipe`` in one line, and the crops that are copies of held-out ones.

    Raises one error that names all unusable crops, `UsageError` for a name in `sampling.weights` that has
    none.
    """
    crops = training_crops(recipe, say)
    crops.weighted(recipe.sampling.weights)
    cache = target_folder()
    require_usable(crops, cache)
    models = recipe.teacher.models if recipe.teacher else ()
    teacher = load_teacher(list(models)) if models else None
    return crops.describe(), heldout_copies(recipe, crops, teacher, cache)


def train_recipe(
    recipe: Recipe, folder: Path, say: Callable[[str], None], progress: OpenBar, **settings: Any
) -> Outcome:
    """`run_recipe` with a bar for stored views, one for the teacher's labels, and then one for training. At
    the end, the learning curve and the run's page are written into the run folder."""
    with ExitStack() as stack:
        bars = _Bars(progress, stack, recipe.schedule.images)
        report = Report(say, bars.labelled, bars.trained, bars.kept)
        outcome = run_recipe(recipe, folder, report, cache=target_folder(), **settings)
    if rank() == 0:
        metrics = RunFolder(folder).metrics()
        write_learning_curve(metrics, folder / "learning_curve.png")
        write_run_page(metrics, folder.name, folder / "run.html")
    return outcome


@dataclass(frozen=True)
class Run:
    """A finished run; ``outcome`` holds its figures. All else is read from its folder."""

    outcome: Outcome

    @property
    def folder(self) -> Path:
        return self.outcome.folder

    @functools.cached_property
    def student(self) -> FaceNet:
        """The trained torch network, in eval mode on the CPU, from the checkpoint that is exported: the best,
        otherwise the last."""
        return load_network(self.folder)[0]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``, in order."""
        return RunFolder(self.folder).metrics()

    def export(
        self, path: str | os.PathLike[str] | None = None, *, data: Sequence[str | os.PathLike[str]] = ()
    ) -> Exported:
        """Write the student as one ONNX file with its card to ``path``, by default ``student.onnx`` in the
        run folder, as ``facekd export`` does. For ``data`` and the errors, see `facekd.export.export`."""
        from facekd.export import export

        out = None if path is None else Path(path)
        return export(self.folder, out, [Path(one) for one in data], _logger.info)


def distill_recipe(
    recipe: str | os.PathLike[str],
    *,
    run: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str = "cpu",
) -> Run:
    """Train the student of the TOML file ``recipe`` from its teacher into the folder ``run``, by default
    ``runs/RECIPE``. ``resume`` continues from the last checkpoint.

    Messages go to the logger "facekd.train", at level INFO, and into the run's ``train.log``. Decoding and,
    with several processors, labelling start processes: a script must call this under
    ``if __name__ == "__main__"``.

    Raises `RecipeError` with every fault of the recipe at once, `UsageError` if the folder is in use or a
    resumed run was started with other inputs, and what `run_recipe` raises.
    """
    file = Path(recipe)
    folder = Path("runs") / file.stem if run is None else Path(run)
    chosen = adapted(file, (), False, None, None)
    outcome = train_recipe(chosen, folder, _logger.info, _no_bar, device=device, resume=resume)
    return Run(outcome)


def _no_bar(title: str, total: int | None) -> AbstractContextManager[Callable[..., None]]:
    return nullcontext(lambda *_: None)


class _Bars:
    """Shows one bar at a time: a terminal can show no more."""

    def __init__(self, progress: OpenBar, stack: ExitStack, images: int) -> None:
        self._open, self._stack, self._images = progress, stack, images
        self._titles: list[str] = []
        self._advance: Callable[..., None] = lambda *_: None
        self._seen: int | None = None
        #: what is left of the bar that is shown
        self._left = 0

    def kept(self, done: int, total: int) -> None:
        self._count("keeping views", done, total)

    def labelled(self, done: int, total: int) -> None:
        self._count("labelling", done, total)

    def _count(self, title: str, done: int, total: int) -> None:
        if self._left <= 0 and title in self._titles:
            self._titles.remove(title)  # a second teacher labels, or other crops: a bar of its own
        if title not in self._titles:
            self._left = total
        self._show(title, total)
        self._left -= done
        self._advance(done)

    def trained(self, step: Progress) -> None:
        self._show("training", self._images)
        done = step.images if self._seen is None else step.images - self._seen
        self._seen = step.images
        self._advance(done, f"{step.images_per_second:.0f} images/s, loss {step.loss:.4f}")

    def _show(self, title: str, total: int) -> None:
        if title not in self._titles:
            self._titles.append(title)
            self._stack.close()
            self._advance = self._stack.enter_context(self._open(title, total))
