"""Check whether a model was trained on the data that it is to be measured on."""

from __future__ import annotations

import re
from pathlib import Path

from facekd.card import Card
from facekd.preprocess import source_digest


def is_training_pack(card: Card, data: Path) -> bool:
    """Whether ``data`` has the contents of one of the packs that, by the card, the model was trained on.
    Raises `InputOutput` if it cannot be read."""
    known = {pack.digest for pack in card.provenance.packs}
    return bool(known) and source_digest(data) in known


def named_in_training(card: Card, data: Path) -> bool:
    """Whether the card's provenance names ``data``, by its file name or folder, with or without suffix.
    The model may also have been trained on data that the card does not name."""
    told = card.provenance.data.lower()
    names = {data.resolve().name.lower(), data.resolve().stem.lower()}
    return bool(names & {told, *re.findall(r"[\w.-]+", told)})
