"""The direction of the mean of each person's templates, as search indexes hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from facekd.errors import Unreadable
from facekd.gallery import everybody
from facekd.gallery.enrolled_people import EnrolledPeople
from facekd.gallery.open_gallery import OpenGallery
from facekd.runtime import fuse

Floats = NDArray[np.float32]

#: people whose directions are read at a time
_PEOPLE = 1000


class MeanDirections:
    """The directions of the people ``enrolled`` in an open ``gallery``."""

    def __init__(self, gallery: OpenGallery, enrolled: EnrolledPeople) -> None:
        self._gallery, self._file, self._enrolled = gallery, gallery.file, enrolled

    def of_everybody(self) -> Iterator[tuple[list[str], Floats]]:
        """As `GalleryRecords.directions`."""
        with self._file.reading(), self._file.snapshot():
            people = everybody.stream(self._file, self._gallery.contract, self._gallery.cipher_now())
            while some := list(islice(people, _PEOPLE)):
                yield [uid for uid, _ in some], np.stack([fuse(one.embeddings) for _, one in some])

    def index_changed(self) -> None:
        """Update the search index, if there is one, with the people changed in this transaction. Somebody
        with a damaged template is left out and stays due, so that they can still be removed."""
        due = self._file.due()
        if due:
            self._file.put_directions(self._readable(due))

    def _readable(self, uids: Sequence[str]) -> dict[str, Floats]:
        """The directions of those people, by uid, whose templates can be read."""
        try:
            return {uid: fuse(one.embeddings) for uid, one in self._enrolled.some(uids).items()}
        except Unreadable:
            half = len(uids) // 2
            if not half:
                return {}
            return self._readable(uids[:half]) | self._readable(uids[half:])
