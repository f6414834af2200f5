"""Distillation: recipes, losses, the teacher's targets, and the run that joins them."""

from facekd.distill.recipe import Recipe, read_recipe
from facekd.distill.run import SILENT, Outcome, Report, embed_crops, heldout_crops, run_recipe, training_crops
from facekd.distill.sight import Asking, crop_targets

__all__ = [
    "SILENT",
    "Asking",
    "Outcome",
    "Recipe",
    "Report",
    "crop_targets",
    "embed_crops",
    "heldout_crops",
    "read_recipe",
    "run_recipe",
    "training_crops",
]
