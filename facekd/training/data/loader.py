"""Batches of views, decoded and augmented."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from facekd.training.augment import Augmentation
from facekd.training.data.crops import CropSet
from facekd.training.data.sampler import View
from facekd.training.data.view_rows import ViewRows


@dataclass(frozen=True)
class Batch:
    """``views`` uint8 [N, S, S, 3]; ``crops``, ``numbers`` and ``labels`` int64 [N]."""

    views: torch.Tensor
    crops: torch.Tensor
    numbers: torch.Tensor
    mirrored: torch.Tensor
    labels: torch.Tensor


class _Views(Dataset):
    def __init__(
        self, crops: CropSet, augmentation: Augmentation, seed: int, threads: int, kept: ViewRows | None
    ) -> None:
        self.crops, self.augmentation, self.seed = crops, augmentation, seed
        self.threads, self.kept = threads, kept
        self._pool: ThreadPoolExecutor | None = None

    def __getitem__(self, view: View) -> NDArray[np.uint8]:
        if self.kept:
            pixels = self.kept.of(view.number)[view.crop]
        else:
            pixels = self.augmentation.view(self.crops.read(view.crop), (self.seed, view.crop, view.number))
        return pixels[:, ::-1] if view.mirrored else pixels

    def __getitems__(self, views: list[View]) -> list[Any]:
        size = self.crops.size
        made = np.empty((len(views), size, size, 3), np.uint8)

        def fill(places: range) -> None:
            for place in places:
                made[place] = self[views[place]]

        threads = min(self.threads, len(views))
        if threads == 1:
            fill(range(len(views)))
        else:
            # OpenCV works without the interpreter's lock, so threads decode side by side
            pool = self._pool = self._pool or ThreadPoolExecutor(self.threads - 1)
            others = [pool.submit(fill, range(k, len(views), threads)) for k in range(1, threads)]
            fill(range(0, len(views), threads))
            for other in others:
                other.result()
        return [made, views]


class ViewLoader:
    """Batches of views, decoded and augmented in ``workers`` processes, or without any by ``threads``
    of this one, between its steps. Views that are ``kept`` are read instead."""

    def __init__(
        self,
        crops: CropSet,
        augmentation: Augmentation,
        seed: int,
        batch: int,
        workers: int = 1,
        threads: int = 1,
        kept: ViewRows | None = None,
    ) -> None:
        self.crops = crops
        self._data = _Views(crops, augmentation, seed, 1 if workers else threads, kept)
        self._batch, self._workers = batch, workers
        self._labels = torch.from_numpy(crops.labels)

    def batches(self, views: Iterator[View] | list[View]) -> Iterator[Batch]:
        """The views in their order; the last batch may be short."""
        loader = DataLoader(
            self._data,
            batch_sampler=_Chunks(views, self._batch),
            num_workers=self._workers,
            collate_fn=_as_tensors,
            prefetch_factor=4 if self._workers else None,
            # a plain fork inherits OpenCV's thread pool without its threads, and then waits for them
            multiprocessing_context="forkserver" if self._workers else None,
            worker_init_fn=_one_thread,
            generator=torch.Generator(),  # or it would draw from the run's
        )
        for pixels, crop, number, mirrored in loader:
            yield Batch(pixels, crop, number, mirrored, self._labels[crop])


class _Chunks:
    def __init__(self, views: Iterator[View] | list[View], size: int) -> None:
        self.views, self.size = views, size

    def __iter__(self) -> Iterator[list[View]]:
        chunk: list[View] = []
        for view in self.views:
            chunk.append(view)
            if len(chunk) == self.size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _as_tensors(fetched: list[Any]) -> tuple[torch.Tensor, ...]:
    pixels, views = fetched
    crop, number, mirrored = zip(*views, strict=True)
    return torch.from_numpy(pixels), torch.tensor(crop), torch.tensor(number), torch.tensor(mirrored)


def _one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
