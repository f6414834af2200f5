"""The templates for searches of galleries on servers, kept while a process lives, so that not every request
reads them again.

They are kept in memory only. Those of an outdated state are ignored, and dropped when new ones are kept: as
with everything else that a process has read, a removal does not affect them earlier.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.gallery.search_file import SearchKey

Floats = NDArray[np.float32]

#: galleries whose templates are kept; a process rarely searches more than one
_MOST = 2


@dataclass(frozen=True)
class _Kept:
    key: SearchKey
    names: tuple[str, ...]
    rows: Floats


_kept: dict[str, _Kept] = {}
_lock = threading.Lock()


def load(gallery: str, space: str, state: str) -> tuple[tuple[str, ...], Floats] | None:
    """Names and templates [people, D] of ``gallery`` in this ``state``; `None` if they are not kept."""
    with _lock:
        found = _kept.get(gallery)
    if found is None or (found.key.space, found.key.state) != (space, state):
        return None
    return found.names, found.rows


def keep(gallery: str, key: SearchKey, names: tuple[str, ...], rows: Floats) -> None:
    """Keep ``names`` and ``rows`` [people, D], which were read from ``gallery`` in the state of ``key``."""
    rows.flags.writeable = False  # threads share them
    with _lock:
        _kept.pop(gallery, None)
        _kept[gallery] = _Kept(key, names, rows)
        while len(_kept) > _MOST:
            del _kept[next(iter(_kept))]
