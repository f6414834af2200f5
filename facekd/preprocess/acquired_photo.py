"""What became of one photo of many: its crops, or why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from facekd.card import CropSpec
from facekd.geometry import Pixels

#: the reason of a photo that is named and not in the data; all others are those of `CannotSay` and
#: `InputOutput`
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class AcquiredPhoto:
    """A photo by its ``name`` in the list that asked for it. ``crops`` uint8 RGB [S, S, 3] by their spec are
    those that were asked to be kept, ``quality`` in [0, 1] is that of `preprocess.quality` where it was
    asked for and a face was found (`None` for finished crops, whose faces are not known); ``reason`` says in
    one word why the photo gave no crop, `None` where it did."""

    name: str
    crops: Mapping[CropSpec, Pixels] = field(default_factory=dict, repr=False, compare=False)
    quality: float | None = None
    reason: str | None = None


def failures_of(photos: Iterable[AcquiredPhoto]) -> tuple[tuple[str, str], ...]:
    """The photos that gave no crop, each with the reason."""
    return tuple((photo.name, photo.reason) for photo in photos if photo.reason is not None)
