"""The pictures that ``facekd identify --annotate`` draws of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facekd.preprocess import PhotoLike
    from facekd.verification.results import IdentifiedPhoto
    from facekd.workflows import Recognizer


class SearchPictures:
    """Draws the annotations of ``count`` ``photos`` to ``to``: a folder or, for a single photo, also a file;
    `None` draws nothing. Raises `UsageError` for an unusable ``to``, before a model runs."""

    def __init__(self, to: Path | None, photos: Sequence[Path], count: int) -> None:
        self._to, self._taken = to, set[str]()
        self._in_folder = to is not None and (count > 1 or to.is_dir())
        if to is None:
            return
        from facekd.reporting import check_annotation, check_annotation_folder

        (check_annotation_folder if self._in_folder else check_annotation)(to, photos)

    @property
    def wanted(self) -> bool:
        return self._to is not None

    def draw(self, recognizer: Recognizer, found: IdentifiedPhoto, photo: PhotoLike, rule: str) -> None:
        """Draw what was ``found`` in ``photo`` by ``rule``."""
        if self._to is None:
            return
        from facekd.reporting import file_in, write_annotation
        from facekd.workflows import annotate_search

        file = file_in(self._to, found.photo, self._taken) if self._in_folder else self._to
        lines = [rule, *(f"note: {note}" for note in found.notes)]
        write_annotation(annotate_search(recognizer, found, photo, lines), file)
