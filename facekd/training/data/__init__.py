"""Training data: crops of one or more folders and packs, read in place."""

from facekd.training.data.crops import CropSet, open_crops
from facekd.training.data.kept import keep_views, kept_views
from facekd.training.data.rows import ViewRows
from facekd.training.data.views import Batch, View, ViewLoader

__all__ = ["Batch", "CropSet", "View", "ViewLoader", "ViewRows", "keep_views", "kept_views", "open_crops"]
