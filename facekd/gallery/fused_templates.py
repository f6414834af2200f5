"""The templates of everybody in memory, to compare new photos with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.records import GalleryRecords
from facekd.runtime import fuse

Floats = NDArray[np.float32]


class FusedTemplates:
    """One fused embedding for each person of ``records``, read from the records again if another program
    has changed them.

    Reading raises `Unreadable` if a template is damaged.
    """

    def __init__(self, records: GalleryRecords) -> None:
        self._records = records
        self._read_at: int | None = None
        self._place: dict[str, int] = {}
        self._rows = np.empty((0, records.contract.dim), np.float32)

    @property
    def names(self) -> list[str]:
        return list(self._place)

    def refresh(self) -> None:
        """Take in changes by other programs."""
        version = self._records.version()
        if version == self._read_at:
            return
        everybody = self._records.everybody()
        self._place = {name: place for place, name in enumerate(everybody.names)}
        self._rows = np.empty((max(len(self._place), 16), self._records.contract.dim), np.float32)
        for place, own in enumerate(everybody.of_each()):
            self._rows[place] = fuse(list(own))
        self._read_at = version

    def update(self, name: str) -> None:
        """Take in what this program has added to a person."""
        place = self._place.setdefault(name, len(self._place))
        if place == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[place] = fuse([template.embedding for template in self._records.templates(name)])

    def of(self, name: str) -> Floats | None:
        """A person's embedding [D]; `None` if there is no such person."""
        place = self._place.get(name)
        return None if place is None else self._rows[place]

    def scores(self, embeddings: Floats) -> Floats:
        """The scores of ``embeddings`` [N, D] with everybody's, in the order of `names` [N, P]."""
        return embeddings @ self._rows[: len(self._place)].T
