"""Idle connections to Milvus, kept for the next call that opens the same gallery, because a service opens it
for each request."""

from __future__ import annotations

import os
import threading
import time

from facekd.gallery.milvus.milvus_index import MilvusIndex

#: connections that a process keeps for each index, and for how long; a new one reads the token again
MOST, SECONDS = 4, 60.0

#: by index and process, connections that were given back: a forked process must not use its parent's
_kept: dict[tuple[str, int], list[MilvusIndex]] = {}
_lock = threading.Lock()


def take(new: MilvusIndex) -> MilvusIndex:
    """An idle connection to the same index as ``new``, which is not connected yet; if there is none,
    ``new``."""
    with _lock:
        kept = _kept.get(_key(new))
        found = kept.pop() if kept else None
    if found is None:
        return new
    if _is_good(found):
        return found
    found.close()
    return take(new)


def give_back(index: MilvusIndex) -> None:
    """Keep ``index``, unless it has failed, was connected long ago, or enough are kept."""
    leaving: MilvusIndex | None = index
    if _is_good(index):
        with _lock:
            kept = _kept.setdefault(_key(index), [])
            kept.append(index)
            leaving = kept.pop(0) if len(kept) > MOST else None
    if leaving is not None:
        leaving.close()


def _is_good(index: MilvusIndex) -> bool:
    return index.connected is not None and time.monotonic() - index.connected < SECONDS


def _key(index: MilvusIndex) -> tuple[str, int]:
    return repr(index), os.getpid()
