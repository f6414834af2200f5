"""The crops used to measure an export: its parity with torch, and its threshold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.card import Sample
from facekd.errors import UsageError
from facekd.export.onnx_graph import PARITY_CROPS
from facekd.training.data import CropSet, open_crops, read_list


@dataclass(frozen=True)
class Measured:
    """``any`` are used for parity, ``ranges`` for the ranges of int8; ``labelled``, of people who
    were not trained on, for a threshold, and ``choosing``, of other people, for the cost of int8. ``name``,
    ``detector`` and ``aligner`` go into the calibration."""

    any: CropSet
    labelled: CropSet | None
    name: str
    ranges: Callable[[], CropSet]
    choosing: CropSet | None = None
    detector: str = "as the crops were given"
    aligner: str = "as the crops were given"

    def some(self, count: int) -> NDArray[np.uint8]:
        """``count`` crops, evenly spaced, uint8 RGB [count, 112, 112, 3]; fewer if there are fewer."""
        return some_of(self.any, count)


def some_of(crops: CropSet, count: int) -> NDArray[np.uint8]:
    """``count`` evenly spaced ``crops``, uint8 RGB [count, 112, 112, 3]; fewer if there are fewer."""
    chosen = np.unique(np.linspace(0, len(crops) - 1, count).astype(int))
    return np.stack([crops.read(int(index)) for index in chosen])


def sample_of(crops: CropSet) -> Sample:
    """``crops`` as a card names them: how many people and crops, and a digest of names and contents."""
    sha = hashlib.sha256()
    for index, name in enumerate(crops.names):
        sha.update(f"{name}\n{hashlib.sha256(crops.encoded(index)).hexdigest()}\n".encode())
    return Sample(people=len(crops.people), photos=len(crops), digest=sha.hexdigest())


def measured_crops(data: Sequence[Path], run: Path | None) -> Measured:
    """The crops of ``data`` (packs, or one recipe), otherwise those of the recipe of ``run``."""
    if len(data) == 1 and data[0].suffix == ".toml":
        return _of_recipe(data[0])
    if data:
        _refuse_trained_on(data, run)
        crops = open_crops(labelled=data)
        named = ", ".join(path.name for path in data)
        labelled = crops if crops.people else None
        return Measured(crops, labelled, _counted(named, crops), lambda: crops, labelled)
    if run is not None:
        return _of_recipe(run / "recipe.toml")
    raise UsageError(
        "an export is checked on real crops, but none are given",
        "Give a pack of aligned crops, or a recipe: --data CROPS.zip",
    )


def _refuse_trained_on(data: Sequence[Path], run: Path | None) -> None:
    """Raise `UsageError` if a threshold would be measured on people that the run was trained on: its true
    FMR would be higher than stated."""
    from facekd.distillation import read_recipe

    if run is None or not (run / "recipe.toml").is_file():
        return
    known = read_recipe(run / "recipe.toml").data
    trained = {path.resolve() for path in (*known.labelled, *known.unlabelled)}
    held = set(read_list(known.heldout)) if known.heldout else set()
    for path in data:
        if path.resolve() in trained and not held.issuperset(open_crops(labelled=[path]).people):
            raise UsageError(
                f"{path}: {run} was trained on it, so a threshold measured on it would not be valid",
                "Leave --data out to use the held-out people, or give crops of other people.",
            )


def _of_recipe(path: Path) -> Measured:
    from facekd.distillation import heldout_crops, missing_files, read_recipe, training_crops

    recipe = read_recipe(path)
    missing = [one.path for one in missing_files(recipe) if one.place.startswith("data.")]
    if missing:
        raise UsageError(
            f"{path} names crops that do not exist: {', '.join(missing)}",
            "Give crops to measure on: --data CROPS.zip",
        )
    labelled = heldout_crops(recipe, "calibrate")
    if labelled is None or not len(labelled):
        return Measured(training_crops(recipe), None, recipe.data.name, lambda: training_crops(recipe))
    name = _counted(f"held-out people of {recipe.data.name}", labelled)
    # parity needs real crops of any people; if few are held out, others are used too
    any_crops = labelled if len(labelled) >= PARITY_CROPS else training_crops(recipe)
    choosing = heldout_crops(recipe, "choose")
    return Measured(
        any_crops, labelled, name, lambda: training_crops(recipe), choosing,
        recipe.data.detector, recipe.data.aligner,
    )  # fmt: skip


def _counted(name: str, crops: CropSet) -> str:
    return f"{name} ({len(crops.people)} people, {len(crops)} crops)"
