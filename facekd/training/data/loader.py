"""Batches of views, decoded and augmented."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from facekd.errors import FacekdError
from facekd.training.augment import Augmentation
from facekd.training.data.crop_check import require_decodable
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

    def __getitems__(self, views: list[View]) -> list[Any] | FacekdError:
        try:
            return self._fetched(views)
        except FacekdError as error:
            return error  # raised in a worker, it would reach the caller wrapped in a traceback

    def _fetched(self, views: list[View]) -> list[Any]:
        size = self.crops.size
        made = np.empty((len(views), size, size, 3), np.uint8)

        def fill(places: range) -> None:
            for place in places:
                made[place] = self[views[place]]

        threads = min(self.threads, len(views))
        if threads == 1:
            fill(range(len(views)))
        else:
            # OpenCV releases the interpreter's lock, so threads decode in parallel
            pool = self._pool = self._pool or ThreadPoolExecutor(self.threads - 1)
            others = [pool.submit(fill, range(k, len(views), threads)) for k in range(1, threads)]
            fill(range(0, len(views), threads))
            for other in others:
                other.result()
        return [made, views]


class ViewLoader:
    """Batches of views, decoded and augmented in ``workers`` processes, or without workers by ``threads``
    of this process, between its steps. Views that are ``kept`` are read instead."""

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
        self._batch, self._workers, self._threads = batch, workers, threads
        self._labels = torch.from_numpy(crops.labels)

    def batches(self, views: Iterator[View] | list[View]) -> Generator[Batch, None, None]:
        """The views in their order; the last batch may be short. Close the generator if it is not exhausted,
        which ends the worker processes.

        Raises the errors of `CropSet.read`.
        """
        lifeline, held = Pipe(duplex=False) if self._workers else (None, None)
        loader = DataLoader(
            self._data,
            batch_sampler=_Chunks(views, self._batch),
            num_workers=self._workers,
            collate_fn=_as_tensors,
            prefetch_factor=4 if self._workers else None,
            # a plain fork inherits OpenCV's thread pool without its threads, and then waits for them forever
            multiprocessing_context="forkserver" if self._workers else None,
            worker_init_fn=partial(_begin_worker, lifeline) if lifeline else None,
            generator=torch.Generator(),  # otherwise it would draw from the run's generator
        )
        fetched = iter(loader)
        try:
            for found in fetched:
                if isinstance(found, FacekdError):
                    require_decodable(self.crops, self._threads)  # names this crop, and all others like it
                    raise found
                pixels, crop, number, mirrored = found
                yield Batch(pixels, crop, number, mirrored, self._labels[crop])
        finally:
            del fetched
            if held:
                held.close()


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


def _as_tensors(fetched: list[Any] | FacekdError) -> tuple[torch.Tensor, ...] | FacekdError:
    if isinstance(fetched, FacekdError):
        return fetched
    pixels, views = fetched
    crop, number, mirrored = zip(*views, strict=True)
    return torch.from_numpy(pixels), torch.tensor(crop), torch.tensor(number), torch.tensor(mirrored)


def _begin_worker(lifeline: Connection, worker: int) -> None:
    """Set up a worker process with one thread. The training process receives the same signals and decides
    when to stop its workers; when it has ended, for whatever reason, its end of ``lifeline`` is closed."""
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    # not PR_SET_PDEATHSIG: the parent is the fork server, which lives as long as its children
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
