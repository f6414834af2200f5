"""The crops that a recipe trains on, and those it holds out."""

from __future__ import annotations

from collections.abc import Callable

from facekd.distillation.recipe import Recipe
from facekd.errors import UsageError
from facekd.training.data import CropSet, open_crops, open_identities, read_list


def training_crops(recipe: Recipe, warn: Callable[[str], None] = lambda text: None) -> CropSet:
    """The crops of a recipe, without the held-out identities.

    Names in its lists that match nothing are passed to ``warn``. Raises `RecipeError` for held-out
    identities that do not exist, `UsageError` if no crop is left.
    """
    data = recipe.data
    crops = open_crops(
        data.labelled, data.unlabelled, data.merge, data.exclude, data.doubts, data.heldout, warn, data.root
    )
    crops = crops.sampled(data.share) if data.share < 1 else crops
    if not len(crops):
        raise UsageError(f"data.share = {data.share:g} leaves no crop")
    return crops.capped(data.cap) if data.cap else crops


def heldout_crops(recipe: Recipe, part: str) -> CropSet | None:
    """The held-out crops: ``part`` "choose" (odd lines of the list) or "calibrate" (even)."""
    data = recipe.data
    if data.heldout is None:
        return None
    lines = read_list(data.heldout)[0 if part == "choose" else 1 :: 2]
    return open_identities(data.labelled, lines, data.merge, data.root)
