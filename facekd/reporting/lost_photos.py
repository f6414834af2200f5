"""Photos without an embedding: how many, which, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from facekd.reporting.page import Table

#: photos that are named for each reason
_NAMED = 10


def reasons_told(failures: Iterable[tuple[str, str]]) -> str:
    """The number of failures for each reason, in brackets; empty if there are none."""
    counts = Counter(reason for _, reason in failures)
    told = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return f" ({told})" if told else ""


def lost_photos_tables(lost: Sequence[tuple[str, str]], caption: str) -> Iterator[Table]:
    """The photos (photo, reason) that were ``lost``, by reason, the most frequent first."""
    photos: dict[str, list[str]] = {}
    for photo, reason in lost:
        photos.setdefault(_reason(reason), []).append(photo)
    if photos:
        order = sorted(photos.items(), key=lambda item: -len(item[1]))
        rows = tuple((reason, f"{len(named):,}", _some(named)) for reason, named in order)
        yield Table(("Reason", "Photos", "Which"), rows, caption)


def _reason(reason: str) -> str:
    """The reason without the person or the file."""
    return re.sub(r"(, of | as ).*", "", reason).replace("_", " ")


def _some(photos: Sequence[str]) -> str:
    rest = len(photos) - _NAMED
    return ", ".join(photos[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
