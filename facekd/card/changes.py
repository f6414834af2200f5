"""Changing a card by ``key=value`` settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from facekd.errors import UsageError

if TYPE_CHECKING:
    pass
from facekd.card.contract import Card, first_fault


def change_card(card: Card, settings: list[str]) -> Card:
    """Apply ``key=value`` settings (dotted keys, JSON or bare-word values) to a card.

    Thresholds, score map and photo limits hold for the space that they were measured in: where the
    settings change it, the card loses them. Raises `UsageError` for an unknown key, a value of the wrong
    kind, or a derived key.
    """
    data = card.model_dump(mode="json")
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise UsageError(f"--set {setting}: write KEY=VALUE", "Example: input.colour=bgr")
        if key in ("digest", "space"):
            raise UsageError(f"--set {key}: it is derived from the network, not chosen")
        try:
            value: Any = json.loads(text)
        except json.JSONDecodeError:
            value = text
        place: Any = data
        *path, last = key.split(".")
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise UsageError(f"--set {key}: no such key in a card")
        place[last] = value
    try:
        changed = Card.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"the card would not be valid: {first_fault(error)}") from error
    if changed.with_digest(card.digest).space == card.with_digest(card.digest).space:
        return changed
    return changed.model_copy(update={"calibration": (), "score_map": None, "photo_limits": None})
