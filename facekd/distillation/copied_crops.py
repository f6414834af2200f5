"""Find copies of held-out crops among the training crops, under other names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.distillation.recipe import Recipe
from facekd.distillation.recipe_crops import heldout_crops
from facekd.models import Teacher
from facekd.training.data import SURELY, CropSet, alike_crops

#: the teacher's cosine from which two similar crops count as one photo: EdgeFace XS gave 0.88 or more
#: for 95 in 100 copies (moved by two pixels, turned by 3 degrees, brightened, JPEG at quality 30), and 0.17
#: or less for nine in ten similar crops that are not copies
COPY_COSINE = 0.85
_NAMED = 5


@dataclass(frozen=True)
class CropCopy:
    """A training crop and the held-out crop that it copies, both as ``pack/crop``."""

    crop: str
    heldout: str
    likeness: float


def heldout_copies(
    recipe: Recipe, crops: CropSet, teacher: Teacher | None, cache: Path
) -> tuple[CropCopy, ...]:
    """The ``crops`` that are copies of held-out crops, most similar first.

    Where two crops look alike, the ``teacher`` decides whether they show one face; without a teacher only
    the most similar pairs count. Raises the errors of `CropSet.read`.
    """
    found: list[CropCopy] = []
    for part in ("choose", "calibrate"):
        held = heldout_crops(recipe, part)
        if held is None or not len(held):
            continue
        alike = alike_crops(crops, held, cache)
        mine = [crops.read(one.index) for one in alike]
        theirs = [held.read(one.other) for one in alike]
        sure = (
            _confirmed(teacher, mine, theirs) if teacher and alike else [a.likeness >= SURELY for a in alike]
        )
        found += [
            CropCopy(crops.called(one.index), held.called(one.other), one.likeness)
            for one, is_copy in zip(alike, sure, strict=True)
            if is_copy
        ]
    return tuple(sorted(found, key=lambda copy: (-copy.likeness, copy.crop)))


def copies_note(copies: Sequence[CropCopy]) -> str:
    """The note about ``copies`` that is shown before a run."""
    named = ", ".join(f"{copy.crop} ({copy.heldout})" for copy in copies[:_NAMED])
    more = f" and {len(copies) - _NAMED:,} more" if len(copies) > _NAMED else ""
    return (
        f"note: {len(copies):,} crops are copies of held-out crops under other names, so the held-out "
        f"figures are too good: {named}{more}. 'facekd recipe check --data' lists all for data.exclude"
    )


def _confirmed(
    teacher: Teacher, mine: Sequence[NDArray[np.uint8]], theirs: Sequence[NDArray[np.uint8]]
) -> list[bool]:
    """Whether the teacher takes each pair of crops for one face, mirrored or not."""
    rows = [
        _unit(teacher.targets(np.stack(some)).embedding.float().cpu().numpy())
        for some in (mine, theirs, [np.ascontiguousarray(crop[:, ::-1]) for crop in theirs])
    ]
    cosines = np.maximum((rows[0] * rows[1]).sum(axis=1), (rows[0] * rows[2]).sum(axis=1))
    return (cosines >= COPY_COSINE).tolist()


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), np.float32)
