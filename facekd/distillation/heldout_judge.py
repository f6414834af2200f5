"""How good a student is on people that it was never trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from facekd.distillation.recipe import Recipe
from facekd.distillation.recipe_crops import heldout_crops
from facekd.errors import RecipeError
from facekd.models import FaceNet, to_planes
from facekd.training import Diverged
from facekd.training.data import CropSet
from facekd.verification import AllPairs, all_pairs

#: the FMR at which the held-out people choose a checkpoint
CHOOSING_FMR = 1e-3
#: the share of a run from which on a student has to tell people apart
_PATIENCE = 0.5
#: identities that say whether it does, and the standard errors from zero that are no chance
_FEWEST_PEOPLE, _ERRORS = 10, 3.0


class HeldOutJudge:
    """Judges a student by TAR over all pairs of the held-out crops that choose; keeps the last one's."""

    def __init__(self, crops: CropSet, device: str) -> None:
        self.crops, self._device = crops, device
        self._pairs: AllPairs | None = None

    def __call__(self, student: nn.Module, progress: float = 0.0) -> float:
        """The student's TAR at ``progress``, a share of the run. Raises `Diverged` where it gives no numbers,
        or from the half of the run on tells nobody apart."""
        assert isinstance(student, FaceNet)
        rows = embed_crops(student, self.crops, self._device)
        lost = int((~np.isfinite(rows)).any(axis=1).sum())
        if lost:
            raise Diverged(
                f"the student gives no numbers any more for {lost} of {len(rows)} held-out crops",
                "Lower the learning rate.",
            )
        told = at_chance(rows, self.crops.labels) if progress >= _PATIENCE else None
        if told:
            raise Diverged(
                f"the student tells nobody apart after {progress:.0%} of the run: {told}",
                "Start a new run with a lower schedule.rate or a longer warmup; see whether the labels and "
                "the teacher are right.",
            )
        self._pairs = all_pairs(rows, self.crops.labels)
        return float(self._pairs.tar_at(CHOOSING_FMR))

    def interval(self) -> tuple[float, float] | None:
        """Of the last one's TAR, 95 %, over identities."""
        found = self._pairs.operating_point(CHOOSING_FMR).interval if self._pairs else None
        return (found.low, found.high) if found else None


def heldout_judge(recipe: Recipe, device: str) -> HeldOutJudge | None:
    """The judge of a recipe's students; `None` where it holds nobody out.

    Raises `RecipeError` for too few people.
    """
    held = heldout_crops(recipe, "choose")
    if held is None:
        return None
    if len(held.people) < 2 or held.counts().max() < 2:
        raise RecipeError(
            f"{recipe.data.heldout}: choosing a checkpoint needs at least two identities with two crops",
            "They are taken from the odd lines of the list.",
        )
    return HeldOutJudge(held, device)


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


def at_chance(rows: np.ndarray, labels: np.ndarray) -> str | None:
    """Why unit ``rows`` [N, D] of identities ``labels`` [N] tell them apart no better than chance; `None`
    where they do, or where fewer than ten identities have two rows or more.

    For each identity: the mean cosine among its own rows less that to all others. Were the rows drawn at
    random these would scatter about zero, so their mean is held against its standard error.
    """
    people, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(people), rows.shape[1]))
    np.add.at(sums, members, rows.astype(np.float64))
    several = counts >= 2
    if several.sum() < _FEWEST_PEOPLE:
        return None
    n, own = counts[several], sums[several]
    mated = ((own**2).sum(1) - n) / (n * (n - 1))
    others = ((sums.sum(0) - own) * own).sum(1) / (n * (len(rows) - n))
    apart = mated - others
    mean, error = float(apart.mean()), float(apart.std(ddof=1) / len(apart) ** 0.5)
    if mean > _ERRORS * error and mean > 1e-6:
        return None
    return (
        f"the mean cosine of two crops of one of {len(apart)} held-out people is higher by {mean:.2g} than "
        f"that of two people, with a standard error of {error:.2g}"
    )
