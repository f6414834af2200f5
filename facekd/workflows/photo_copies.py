"""Photos that occur in a set more than once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping

from facekd.errors import InputOutput


def content_digest(read: Callable[[], bytes]) -> str:
    """SHA-256 of the bytes that ``read`` returns; empty if it fails, which acquisition will report."""
    try:
        return hashlib.sha256(read()).hexdigest()
    except InputOutput:
        return ""


def copies_to_leave_out(owners: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    """The photos to leave out, with the reason: all copies of a file that ``owners`` assigns to several
    people; all but the first copy of a file of one person. For ``digests`` see `content_digest`."""
    same: dict[str, list[str]] = defaultdict(list)
    for name, digest in digests.items():
        if digest:
            same[digest].append(name)
    left_out: dict[str, str] = {}
    for copies in same.values():
        if len({owners[name] for name in copies}) > 1:
            left_out |= dict.fromkeys(copies, "the same file under several people")
        else:
            left_out |= dict.fromkeys(copies[1:], f"the same file as {copies[0]}")
    return left_out
