"""Views stored on disk as they are shown, so that a run decodes and augments each of them once.

Making a view takes about 0.3 ms on one processor, half of it in the image decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.training.augment import Augmentation
from facekd.training.data.crops import CropSet
from facekd.training.data.loader import ViewLoader
from facekd.training.data.sampler import View
from facekd.training.data.view_rows import ViewRows

BATCH = 64


def kept_views(folder: Path, crops: CropSet, augmentation: Augmentation, seed: int) -> ViewRows:
    """The store below ``folder`` for the seeded views of ``crops``, uint8 [N, S, S, 3] for each view
    number, not mirrored."""
    contract: dict[str, object] = {
        "views": augmentation.digest,
        "crops": crops.digest,
        "seed": augmentation.seed_of(seed),
    }
    return ViewRows(folder, contract, len(crops), (crops.size, crops.size, 3), np.uint8)


def keep_views(
    kept: ViewRows,
    numbers: range,
    crops: CropSet,
    augmentation: Augmentation,
    seed: int,
    workers: int = 0,
    threads: int = 1,
    tell: Callable[[int], None] | None = None,
) -> None:
    """Make the views ``numbers`` that are missing in ``kept``; ``tell`` gets the count so far. Call it inside
    ``kept.alone``. Raises `InputOutput` if the disk is too small for them."""
    loader = ViewLoader(crops, augmentation, seed, BATCH, workers, threads)

    def make(number: int, some: range) -> Iterator[NDArray]:
        for made in loader.batches(View(crop, number, False) for crop in some):
            yield made.views.numpy()

    kept.fill(numbers, make, tell)
