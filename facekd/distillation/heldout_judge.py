"""How accurate a student is on held-out people."""

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

#: the FMR of the TAR that selects checkpoints
CHOOSING_FMR = 1e-3
#: the share of a run after which a student must be better than chance
_PATIENCE = 0.5
#: the fewest identities for that test, and the standard errors from zero that count as significant
_FEWEST_PEOPLE, _ERRORS = 10, 3.0


class HeldOutJudge:
    """Judges a student by its TAR over all pairs of the "choose" crops; keeps the last result."""

    def __init__(self, crops: CropSet, device: str) -> None:
        self.crops, self._device = crops, device
        self._pairs: AllPairs | None = None

    def __call__(self, student: nn.Module, progress: float = 0.0) -> float:
        """The student's TAR at ``progress``, a share of the run. Raises `Diverged` if embeddings are not
        finite, or if from half of the run on the student is no better than chance."""
        assert isinstance(student, FaceNet)
        rows = embed_crops(student, self.crops, self._device)
        lost = int((~np.isfinite(rows)).any(axis=1).sum())
        if lost:
            raise Diverged(
                f"the student's embeddings of {lost} of {len(rows)} held-out crops are not finite",
                "Lower the learning rate.",
            )
        told = at_chance(rows, self.crops.labels) if progress >= _PATIENCE else None
        if told:
            raise Diverged(
                f"the student is no better than chance after {progress:.0%} of the run: {told}",
                "Start a new run with a lower schedule.rate or a longer warmup; check that the labels and "
                "the teacher are right.",
            )
        self._pairs = all_pairs(rows, self.crops.labels)
        return float(self._pairs.tar_at(CHOOSING_FMR))

    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the last TAR, over identities."""
        found = self._pairs.operating_point(CHOOSING_FMR).interval if self._pairs else None
        return (found.low, found.high) if found else None


def heldout_judge(recipe: Recipe, device: str) -> HeldOutJudge | None:
    """The judge of a recipe's students; `None` if the recipe holds nobody out.

    Raises `RecipeError` for too few people.
    """
    held = heldout_crops(recipe, "choose")
    if held is None:
        return None
    if len(held.people) < 2 or held.counts().max() < 2:
        raise RecipeError(
            f"{recipe.data.heldout}: choosing a checkpoint needs at least two identities with two crops",
            "Only the odd lines of the list choose.",
        )
    return HeldOutJudge(held, device)


def embed_crops(student: FaceNet, crops: CropSet, device: str = "cpu", batch: int = 64) -> np.ndarray:
    """Embed all crops with a torch network: unit rows float32 [N, D]."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch):
            pixels = np.stack([crops.read(i) for i in range(start, min(start + batch, len(crops)))])
            planes = to_planes(pixels, student.input, device)
            out = student(planes.contiguous(memory_format=torch.channels_last))
            rows.append(torch.nn.functional.normalize(out.float(), dim=1).cpu())
    return torch.cat(rows).numpy()


def at_chance(rows: np.ndarray, labels: np.ndarray) -> str | None:
    """Why unit ``rows`` [N, D] of identities ``labels`` [N] are no better than chance; `None` if they are
    better, or if fewer than ten identities have two rows or more.

    The statistic of each identity is the mean cosine among its own rows minus the mean cosine to all others.
    For random rows it scatters around zero, so its mean is compared with its standard error.
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
        f"over {len(apart)} held-out people, the mean cosine of mated pairs exceeds that of non-mated pairs "
        f"by {mean:.2g}, with a standard error of {error:.2g}"
    )
