"""Choose two people to drill with, by the scores of the model in use.

    python tools/drill_cast.py MODEL PEOPLE

PEOPLE holds a folder of photos for each person. Prints three photos each of "ann" and "bob" as JSON: whatever
the model was trained on, the photos of each score above its strictest threshold with each other, and those of
the two below it. Of such people they are the two whose first two photos, which most drills enroll, are least
alike, so that `enroll` does not take one for the other. Exits with 1 if there are no such people.
"""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.errors import CannotSay
from facekd.workflows import Recognizer

PHOTOS, LOOKED_AT = 3, 5
#: of a person's photos, those that most drills enroll
ENROLLED = 2

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
    """The highest score of a photo, or of several fused, of one person with those of the other."""
    return float((_fused(one) @ _fused(other).T).max())


def _fused(rows: Rows) -> Rows:
    """The embeddings, and the direction of the mean of every two or more of them."""
    sets = [
        list(places) for size in range(1, len(rows) + 1) for places in combinations(range(len(rows)), size)
    ]
    means = np.stack([rows[places].mean(axis=0) for places in sets])
    found: Rows = means / np.linalg.norm(means, axis=1, keepdims=True)
    return found


def cast(model: Path, people: Path) -> dict[str, list[str]]:
    """ann and bob: of the pairs that suit, the one furthest apart when enrolled."""
    recognizer = Recognizer(model, detector="mtcnn")
    strictest = max(entry.threshold for entry in recognizer.embedder.card.calibration)
    known = {person.name: embedded(recognizer, person) for person in sorted(people.iterdir())}
    found = {name: both for name, both in known.items() if both is not None}
    alike = {name: lowest_within(rows) for name, (_, rows) in found.items()}
    suited = [name for name in found if alike[name] > strictest]
    pairs = []
    for one in suited:
        for other in suited:
            if one < other and highest_between(found[one][1], found[other][1]) < strictest:
                first, second = (found[name][1][:ENROLLED] for name in (one, other))
                pairs.append((highest_between(first, second), one, other))
    if not pairs:
        sys.exit(f"of {len(found)} people {len(suited)} suit, but no two of them together")
    _, ann, bob = min(pairs)
    return {"ann": found[ann][0], "bob": found[bob][0]}


if __name__ == "__main__":
    json.dump(cast(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
