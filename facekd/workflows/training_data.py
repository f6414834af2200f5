"""Whether a model was trained on what it is to be measured on."""

from __future__ import annotations

import re
from pathlib import Path

from facekd.card import Card
from facekd.preprocess import source_digest


def is_training_pack(card: Card, data: Path) -> bool:
    """Whether ``data``, by its content, is one of the packs that the card says the model was trained on.
    Raises `InputOutput` where it cannot be read."""
    known = {pack.digest for pack in card.provenance.packs}
    return bool(known) and source_digest(data) in known


def named_in_training(card: Card, data: Path) -> bool:
    """Whether the card's provenance names ``data``, by file name or folder with or without suffix.
    What it does not name, it may still have been trained on."""
    told = card.provenance.data.lower()
    names = {data.resolve().name.lower(), data.resolve().stem.lower()}
    return bool(names & {told, *re.findall(r"[\w.-]+", told)})
