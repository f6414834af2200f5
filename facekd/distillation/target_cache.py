"""The teacher's targets of every view, computed once, stored in float16 and memory-mapped.

A cache belongs to one teacher (its space), one set of crops and one augmentation; its name is
the digest of the three, so a changed recipe never reads the targets of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.models import Teacher
from facekd.models.teachers import SeveralTeachers, side_by_side
from facekd.training import Augmentation
from facekd.training.data import CropSet, View, ViewLoader, ViewRows


class TargetCache:
    """Teacher embeddings of seeded views, float16 [N, D] for each view number. If the views are ``kept``
    they are read instead of made again."""

    def __init__(
        self,
        folder: Path,
        teacher: Teacher,
        crops: CropSet,
        augmentation: Augmentation,
        seed: int,
        kept: ViewRows | None = None,
    ) -> None:
        contract: dict[str, object] = {
            "teacher": teacher.space,
            "crops": crops.digest,
            "augmentation": augmentation.digest,
            "seed": augmentation.seed_of(seed),
        }
        self._rows = ViewRows(folder, contract, len(crops), (teacher.dim,), np.float16)
        self.key, self.folder = self._rows.key, self._rows.folder
        self._teacher, self._crops = teacher, crops
        self._augmentation, self._seed, self._kept = augmentation, seed, kept

    @property
    def dim(self) -> int:
        return self._teacher.dim

    @property
    def name(self) -> str:
        """The teacher's name."""
        return self._teacher.name

    @property
    def parts(self) -> tuple[TargetCache, ...]:
        """The caches to fill: this one."""
        return (self,)

    def alone(self, waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """A context in which nobody else fills this cache; if somebody does, call ``waiting`` and wait."""
        return self._rows.alone(waiting)

    def missing(self, numbers: range) -> int:
        """How many views of ``numbers`` have no target yet."""
        return self._rows.missing(numbers)

    def fill(
        self,
        numbers: range,
        workers: int = 1,
        tell: Callable[[int], None] | None = None,
        batch: int = 64,
        threads: int = 1,
    ) -> None:
        """Compute the targets of all views of ``numbers`` that have none; ``tell`` gets the count so far.
        Call it inside `alone`."""
        loader = ViewLoader(self._crops, self._augmentation, self._seed, batch, workers, threads, self._kept)

        def label(number: int, crops: range) -> Iterator[NDArray]:
            for shown in loader.batches(View(crop, number, False) for crop in crops):
                found = self._teacher.targets(shown.views.numpy()).embedding.cpu().numpy()
                self._require_numbers(found, shown.crops)
                yield found.astype(np.float16)

        self._rows.fill(numbers, label, tell)

    def _require_numbers(self, found: NDArray[np.float32], crops: torch.Tensor) -> None:
        lost = crops[torch.from_numpy(~np.isfinite(found).all(axis=1))].tolist()
        if lost:
            raise UsageError(
                f"the teacher {self.name} gives embeddings that are not finite for {len(lost)} of "
                f"{len(found)} crops, for example {self._crops.called(lost[0])}",
                "Check its input in its card ('facekd card FILE'): a scale that is far off overflows.",
            )

    def rows(self, number: int, crops: torch.Tensor) -> torch.Tensor:
        """Targets float32 [N, D] of view ``number`` of ``crops`` [N]; all must be filled."""
        return torch.from_numpy(self._rows.of(number)[crops.numpy()].astype(np.float32))


class JoinedTargetCaches:
    """The targets of several teachers, joined as by `SeveralTeachers`, each computed and stored separately:
    a run that uses one of them alone finds its targets, and nothing is computed twice."""

    def __init__(self, parts: Sequence[TargetCache]) -> None:
        self.parts = tuple(parts)

    @property
    def dim(self) -> int:
        return sum(part.dim for part in self.parts)

    def rows(self, number: int, crops: torch.Tensor) -> torch.Tensor:
        """Unit targets float32 [N, sum of D] of view ``number`` of ``crops`` [N]; all must be filled."""
        return side_by_side([part.rows(number, crops) for part in self.parts])


def open_target_cache(
    folder: Path,
    teacher: Teacher,
    crops: CropSet,
    augmentation: Augmentation,
    seed: int,
    kept: ViewRows | None = None,
) -> TargetCache | JoinedTargetCaches:
    """The cache of ``teacher``, or those of its members."""
    if isinstance(teacher, SeveralTeachers):
        members = teacher.members
        return JoinedTargetCaches([TargetCache(folder, m, crops, augmentation, seed, kept) for m in members])
    return TargetCache(folder, teacher, crops, augmentation, seed, kept)
