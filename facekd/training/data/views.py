"""The order in which a run sees crops, as a pure function of the seed and the position.

In an `EpochOrder` position p of a run is crop ``order(epoch)[p mod N]`` in epoch ``p div N``, in view
``epoch mod K``, mirrored or not by a hash of seed, epoch and crop. Nothing is drawn from a
generator with a state, so a run resumes exactly where it stopped, whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from facekd.errors import UsageError
from facekd.training.augment import Augmentation
from facekd.training.data.crops import CropSet
from facekd.training.data.rows import ViewRows


class View(NamedTuple):
    """View ``number`` of crop ``crop``; ``mirrored`` left to right after augmentation."""

    crop: int
    number: int
    mirrored: bool


@dataclass(frozen=True)
class Batch:
    """``views`` uint8 [N, S, S, 3]; ``crops``, ``numbers`` and ``labels`` int64 [N]."""

    views: torch.Tensor
    crops: torch.Tensor
    numbers: torch.Tensor
    mirrored: torch.Tensor
    labels: torch.Tensor


class Order(Protocol):
    """Which view stands at which position of a run, a pure function of the position."""

    def at(self, position: int) -> View: ...


class EpochOrder:
    """Every crop once an epoch, shuffled anew.

    With ``count`` 0 every epoch has fresh views (its own number); else views repeat after
    ``count`` epochs, which is what lets their targets be cached.
    """

    def __init__(self, crops: int, count: int, seed: int, mirror: bool) -> None:
        self.crops, self.count, self.seed, self.mirror = crops, count, seed, mirror
        self._epoch = -1
        self._shuffled: NDArray[np.int64] = np.empty(0, np.int64)
        self._flips: NDArray[np.bool_] = np.empty(0, bool)

    def at(self, position: int) -> View:
        epoch, place = divmod(position, self.crops)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._shuffled = rng.permutation(self.crops)
            self._flips = rng.random(self.crops) < 0.5
            self._epoch = epoch
        number = epoch % self.count if self.count else epoch
        return View(int(self._shuffled[place]), number, self.mirror and bool(self._flips[place]))


class PeopleOrder:
    """Batches of ``people`` identities with ``each`` crops (P x K), so that every batch holds pairs
    of one person, and everybody is seen as often whatever the number of their crops.

    Who and which is drawn for each batch from its number and the seed. Identities with one crop,
    and crops without a label, never come up. With ``count`` 0 every draw is a fresh view; else one
    of ``count``. Raises `UsageError` where there are too few identities.
    """

    def __init__(
        self, labels: NDArray[np.int64], people: int, each: int, count: int, seed: int, mirror: bool
    ) -> None:
        order = np.argsort(labels, kind="stable")
        known = order[labels[order] >= 0]
        groups = np.split(known, np.flatnonzero(np.diff(labels[known])) + 1)
        self._groups = [group for group in groups if len(group) >= 2]
        if len(self._groups) < people:
            raise UsageError(
                f"{people} people a batch, and only {len(self._groups)} identities have two crops or more"
            )
        self.people, self.each, self.count, self.seed, self.mirror = people, each, count, seed, mirror
        self._batch = -1
        self._views: list[View] = []

    def at(self, position: int) -> View:
        batch, place = divmod(position, self.people * self.each)
        if batch != self._batch:
            self._views, self._batch = self._drawn(batch), batch
        return self._views[place]

    def _drawn(self, batch: int) -> list[View]:
        rng = np.random.default_rng((self.seed, batch))
        chosen = rng.choice(len(self._groups), self.people, replace=False)
        crops = [
            rng.choice(self._groups[k], self.each, replace=len(self._groups[k]) < self.each) for k in chosen
        ]
        size = self.people * self.each
        numbers = rng.integers(self.count, size=size) if self.count else np.full(size, batch)
        flips = rng.random(size) < 0.5 if self.mirror else np.zeros(size, bool)
        flat = np.concatenate(crops)
        return [View(int(c), int(n), bool(f)) for c, n, f in zip(flat, numbers, flips, strict=True)]


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
