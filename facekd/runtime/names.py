"""Unique names for models that are compared."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def unique_names(names: Sequence[str]) -> list[str]:
    """``names`` [N] as N different ones in their order: without control characters (a card may have any),
    the first of equal names unchanged, the others numbered from 2."""
    found: list[str] = []
    for name in names:
        plain = "".join(c if c.isprintable() else "\ufffd" for c in name) or "unnamed"
        numbered = (f"{plain} ({number})" for number in itertools.count(2))
        found.append(next(n for n in itertools.chain([plain], numbered) if n not in found))
    return found
