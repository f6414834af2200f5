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


class HeldOutJudge:
    """Judges a student by TAR over all pairs of the held-out crops that choose; keeps the last one's."""

    def __init__(self, crops: CropSet, device: str) -> None:
        self._crops, self._device = crops, device
        self._pairs: AllPairs | None = None

    def __call__(self, student: nn.Module) -> float:
        assert isinstance(student, FaceNet)
        rows = embed_crops(student, self._crops, self._device)
        lost = int((~np.isfinite(rows)).any(axis=1).sum())
        if lost:
            raise Diverged(
                f"the student gives no numbers any more for {lost} of {len(rows)} held-out crops",
                "Lower the learning rate.",
            )
        self._pairs = all_pairs(rows, self._crops.labels)
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
