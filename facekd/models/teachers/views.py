"""The views that teachers label: 112-pixel crops on the ArcFace template."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facekd.card import CropSpec, LandmarkCrop
from facekd.errors import Misfit

VIEWS = LandmarkCrop()


def check_teachable(name: str, crop: CropSpec) -> None:
    """Raise `Misfit` if ``crop`` cannot be made from a view: a box crop covers more of the photo."""
    if not isinstance(crop, LandmarkCrop):
        raise Misfit(
            f"{name} needs {crop.size}-pixel box crops, which cannot be cut from aligned crops",
            "It can only teach from photos: export it with 'facekd export' and use it where photos are read.",
        )


def as_crops(views: NDArray[np.uint8], crop: CropSpec) -> NDArray[np.uint8]:
    """Convert views [N, 112, 112, 3] to a network's crops [N, S, S, 3]."""
    if views.ndim != 4 or views.shape[1:] != (VIEWS.size, VIEWS.size, 3) or views.dtype != np.uint8:
        raise Misfit(
            f"a teacher labels uint8 views [N, {VIEWS.size}, {VIEWS.size}, 3], "
            f"got {views.dtype} {list(views.shape)}"
        )
    if crop == VIEWS:
        return views
    from facekd.geometry import recrop

    return recrop(views, VIEWS, crop)
