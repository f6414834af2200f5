"""What the teacher says of every view: asked once, kept in float16, read in place.

A cache belongs to one teacher (its space), one set of crops and one augmentation; its name is
the digest of the three, so a changed recipe never reads another's targets. View k of all crops
is one file; it is filled in blocks, and a fill that was cut short goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facekd.card import canonical_json, write_atomically
from facekd.models import Teacher
from facekd.training import Augmentation
from facekd.training.data import CropSet, View, ViewLoader

_BLOCK = 2048


class TargetCache:
    """Teacher embeddings of seeded views, float16 [N, D] for each view number."""

    def __init__(
        self, folder: Path, teacher: Teacher, crops: CropSet, augmentation: Augmentation, seed: int
    ) -> None:
        # views that are the crops themselves are the same for every seed
        seed = 0 if augmentation == Augmentation() else seed
        self._contract = {
            "teacher": teacher.space,
            "crops": crops.digest,
            "augmentation": augmentation.digest,
            "seed": seed,
        }
        self.key = hashlib.sha256(canonical_json(self._contract)).hexdigest()[:32]
        self.folder = folder / self.key
        self._teacher, self._crops = teacher, crops
        self._augmentation, self._seed = augmentation, seed
        self._open: dict[int, NDArray[np.float16]] = {}

    @property
    def dim(self) -> int:
        return self._teacher.dim

    @contextmanager
    def alone(self, waiting: Callable[[], None]) -> Iterator[None]:
        """While nobody else fills this cache; where somebody does, call ``waiting`` and wait. A process
        that is killed leaves no lock behind."""
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def missing(self, numbers: range) -> int:
        """How many views of ``numbers`` have no target yet."""
        return sum(len(self._crops) - self._done(number) for number in numbers)

    def fill(
        self,
        numbers: range,
        workers: int = 1,
        tell: Callable[[int], None] | None = None,
        batch: int = 64,
        threads: int = 1,
    ) -> None:
        """Label all views of ``numbers`` that have no target yet; ``tell`` gets counts done. Belongs inside
        `alone`: two at once would write into one another's files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "contract.json", json.dumps(self._contract, indent=1).encode())
        loader = ViewLoader(self._crops, self._augmentation, self._seed, batch, workers, threads)
        for number in numbers:
            done, total = self._done(number), len(self._crops)
            if done == total:
                continue
            shape = (total, self._teacher.dim)
            mode = "r+" if done else "w+"
            rows = np.lib.format.open_memmap(self._file(number), mode, np.float16, shape)
            views = (View(crop, number, False) for crop in range(done, total))
            for labelled in loader.batches(views):
                found = self._teacher.targets(labelled.views.numpy()).embedding
                rows[done : done + len(found)] = found.cpu().numpy().astype(np.float16)
                before, done = done, done + len(found)
                if before // _BLOCK != done // _BLOCK or done == total:
                    rows.flush()
                    write_atomically(self._mark(number), str(done).encode())
                if tell:
                    tell(len(found))

    def rows(self, number: int, crops: torch.Tensor) -> torch.Tensor:
        """Targets float32 [N, D] of view ``number`` of ``crops`` [N]; all must be filled."""
        if number not in self._open:
            self._open[number] = np.load(self._file(number), mmap_mode="r")
        return torch.from_numpy(self._open[number][crops.numpy()].astype(np.float32))

    def _done(self, number: int) -> int:
        mark = self._mark(number)
        return int(mark.read_text()) if mark.is_file() and self._file(number).is_file() else 0

    def _file(self, number: int) -> Path:
        return self.folder / f"view-{number}.npy"

    def _mark(self, number: int) -> Path:
        return self.folder / f"view-{number}.done"
