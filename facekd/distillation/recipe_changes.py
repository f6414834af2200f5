"""The differences between two recipes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from facekd.distillation.recipe import Recipe

#: differences that are listed one by one, and the characters of a value that are shown
_NAMED, _SHOWN = 5, 60


def told_changes(before: Recipe, now: Recipe) -> str | None:
    """The differences as ``schedule.batch 8 -> 4``, the first few listed and the others counted; `None` if
    there is none."""
    found = list(_changes("", before.model_dump(mode="json"), now.model_dump(mode="json")))
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more if found else None


def _changes(place: str, before: Any, now: Any) -> Iterator[str]:
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            yield from _changes(f"{place}.{key}" if place else key, before.get(key), now.get(key))
    elif _tables(before) and _tables(now):
        for number in range(max(len(before), len(now))):
            each = [tables[number] if number < len(tables) else None for tables in (before, now)]
            yield from _changes(f"{place} {number + 1}", *each)
    else:
        yield f"{place} {_shown(before)} -> {_shown(now)}"


def _tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
