"""Choose two people to drill with, by the scores of the model in use.

    python tools/drill_cast.py MODEL PEOPLE

PEOPLE holds a folder of photos for each person. Prints three photos each of "ann" and "bob" as JSON: whatever
the model was trained on, the photos of each score above its strictest threshold with each other, and those of
the two below it. Exits with 1 if there are no such people.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.errors import CannotSay
from facekd.workflows import Recognizer

PHOTOS, LOOKED_AT = 3, 5

Rows = NDArray[np.float32]


def embedded(recognizer: Recognizer, person: Path) -> tuple[list[str], Rows] | None:
    """The `PHOTOS` photos of a person that are most alike, and their embeddings; `None` for too few."""
    photos, rows = [], []
    for photo in sorted(person.iterdir())[:LOOKED_AT]:
        try:
            found = recognizer.recognise(photo)
        except CannotSay:
            continue
        if found.faces == 1:  # there are drills with bystanders of their own
            photos.append(str(photo))
            rows.append(found.embedding)
    if len(photos) < PHOTOS:
        return None
    stacked = np.stack(rows)
    closest = np.argsort(-(stacked @ stacked.T).sum(1))[:PHOTOS]
    return [photos[k] for k in closest], stacked[closest]


def lowest_within(rows: Rows) -> float:
    return float((rows @ rows.T)[np.triu_indices(len(rows), 1)].min())


def highest_between(one: Rows, other: Rows) -> float:
    return float((one @ other.T).max())


def cast(model: Path, people: Path) -> dict[str, list[str]]:
    """ann and bob: of the pairs that suit, the one furthest apart."""
    recognizer = Recognizer(model, detector="mtcnn")
    strictest = max(entry.threshold for entry in recognizer.embedder.card.calibration)
    known = {person.name: embedded(recognizer, person) for person in sorted(people.iterdir())}
    found = {name: both for name, both in known.items() if both is not None}
    alike = {name: lowest_within(rows) for name, (_, rows) in found.items()}
    suited = [name for name in found if alike[name] > strictest]
    pairs = []
    for one in suited:
        for other in suited:
            across = highest_between(found[one][1], found[other][1])
            if one < other and across < strictest:
                pairs.append((min(alike[one], alike[other]) - across, one, other))
    if not pairs:
        sys.exit(f"of {len(found)} people {len(suited)} suit, but no two of them together")
    _, ann, bob = max(pairs)
    return {"ann": found[ann][0], "bob": found[bob][0]}


if __name__ == "__main__":
    json.dump(cast(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
