"""Short names of enrolled photos: the first digits of the SHA-256 of their file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from facekd.errors import NotFound, UsageError

#: digits that are shown; more if two photos of a person begin with the same ones
_SHOWN = 12
#: digits that must be given
_NEEDED = 4


@dataclass(frozen=True)
class EnrolledPhoto:
    """An enrolled photo without its embedding: ``id`` identifies it among its person's photos, ``photo`` is
    the SHA-256 of its file, ``quality`` in [0, 1], ``enrolled`` a date in UTC."""

    id: str
    photo: str
    quality: float
    enrolled: str


def short_ids(photos: Sequence[str]) -> list[str]:
    """An id for each of a person's ``photos`` (SHA-256), all different."""
    digits = _SHOWN
    while len({photo[:digits] for photo in photos}) < len(photos):
        digits += 1
    return [photo[:digits] for photo in photos]


def photo_with(beginning: str, photos: Sequence[str]) -> str:
    """The one of ``photos`` (SHA-256) with this ``beginning``. Raises `NotFound` if there is none,
    `UsageError` if there are several or it is not an id."""
    if not re.fullmatch(f"[0-9a-f]{{{_NEEDED},64}}", beginning.lower()):
        raise UsageError(
            f"{beginning!a} is not a photo id: {_NEEDED} to 64 hexadecimal digits",
            "'facekd gallery show NAME' shows the ids of a person's photos.",
        )
    found = [photo for photo in photos if photo.startswith(beginning.lower())]
    if not found:
        raise NotFound(
            f"none of the person's photos has the id {beginning}",
            "'facekd gallery show NAME' shows the ids of a person's photos.",
        )
    if len(found) > 1:
        ids = ", ".join(short_ids(found))
        raise UsageError(f"{len(found)} photos have ids that begin with {beginning}: {ids}")
    return found[0]
