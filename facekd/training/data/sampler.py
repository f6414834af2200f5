"""The order in which a run sees crops, as a pure function of the seed and the position.

In an `EpochOrder`, position p of a run is crop ``order(epoch)[p mod N]`` in epoch ``p div N``, in view
``epoch mod K``, mirrored or not by a hash of seed, epoch and crop. There is no generator with a
state, so a run resumes exactly where it stopped, whatever the number of workers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError


class View(NamedTuple):
    """View ``number`` of crop ``crop``; ``mirrored`` left to right after augmentation."""

    crop: int
    number: int
    mirrored: bool


class Order(Protocol):
    """The view at each position of a run, a pure function of the position."""

    def at(self, position: int) -> View: ...


class EpochOrder:
    """Every crop once per epoch, in a new random order.

    With ``count`` 0 every epoch has new views (numbered by the epoch); otherwise views repeat after
    ``count`` epochs, so that their targets can be cached.

    With ``weights`` [crops], positive, a crop comes in proportion to its weight instead. An epoch is as long
    as without, and a crop that is due w times in it comes floor(w) or ceil(w) times (systematic sampling:
    Madow, Annals of Mathematical Statistics 20(3), 1949).
    """

    def __init__(
        self, crops: int, count: int, seed: int, mirror: bool, weights: NDArray[np.float64] | None = None
    ) -> None:
        self.crops, self.count, self.seed, self.mirror = crops, count, seed, mirror
        self._ends = None if weights is None else np.cumsum(weights) * (crops / np.sum(weights))
        self._epoch = -1
        self._shuffled: NDArray[np.int64] = np.empty(0, np.int64)
        self._flips: NDArray[np.bool_] = np.empty(0, bool)

    def at(self, position: int) -> View:
        epoch, place = divmod(position, self.crops)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._shuffled = rng.permutation(self.crops)
            if self._ends is not None:
                due = np.searchsorted(self._ends, np.arange(self.crops) + rng.random(), side="right")
                self._shuffled = np.minimum(due, self.crops - 1)[self._shuffled]
            self._flips = rng.random(self.crops) < 0.5
            self._epoch = epoch
        number = epoch % self.count if self.count else epoch
        return View(int(self._shuffled[place]), number, self.mirror and bool(self._flips[place]))


class PeopleOrder:
    """Batches of ``people`` identities with ``each`` crops (P x K), so that every batch has mated
    pairs, and identities are sampled equally often whatever the number of their crops.

    The identities and crops of each batch follow from its number and the seed. Identities with one crop,
    and unlabelled crops, are never used. With ``count`` 0 every draw is a new view; otherwise one
    of ``count``. Raises `UsageError` if there are too few identities.
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
                f"{people} people in a batch, but only {len(self._groups)} identities have two crops or more"
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
