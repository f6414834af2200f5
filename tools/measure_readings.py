"""Measure how often card --check-on calls right and wrong input settings worse than others.

    python tools/measure_readings.py ov_reid_0095.onnx lfw.zip --pool 250 --sets 200

MODEL's card must be right. Sets of people are drawn from --pool people of PHOTOS (Person/photo.jpg) who have
several photos, at most five of each. Prints the separation and FNMR of each setting on the whole pool, and
for each number of people in what share of the sets it is called worse than the best: for the card's own
a false alarm, for the others the power. The tails are the shares of sets in which the difference from the
card's, less that of the whole pool, lies in the upper and the lower 5 % of its estimated distribution.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.card import read_card
from facekd.cli import run
from facekd.cli.options import EXISTING, MODEL_FILE, detector_option
from facekd.runtime import embedder_under
from facekd.verification import Shortfall, all_pairs, separation_of, shortfall
from facekd.verification.results import Reading
from facekd.workflows import PhotoSet, crop_photos, find_people, plausible_readings

PHOTOS_OF_ONE = 5
LEVEL = 0.05

Labels = NDArray[np.str_]
Embedded = list[tuple[Reading, NDArray[np.float32]]]


def embedded_readings(model: Path, photos: Path, pool: int, detector: str) -> tuple[Labels, Embedded]:
    """The people of the photos [N], and the photos' embeddings [N, D] under each reading, the card's
    first."""
    card, people = read_card(model)[0], find_people(photos)
    counts = Counter(people.labels)
    several = sorted(str(label) for label, count in counts.items() if count > 1)
    drawn = set(np.random.default_rng(0).permutation(several)[:pool].tolist())
    taken: Counter[str] = Counter()
    names, labels = [], []
    for label, name in zip(people.labels, people.photos, strict=True):
        taken[str(label)] += 1
        if label in drawn and taken[str(label)] <= PHOTOS_OF_ONE:
            names.append(name)
            labels.append(str(label))
    readings = sorted(
        plausible_readings(card), key=lambda one: (one.input, one.crop) != (card.input, card.crop)
    )
    specs = list(dict.fromkeys(reading.crop for reading in readings))
    found = list(crop_photos(PhotoSet(photos, detector), names, specs))
    there = [(label, photo.crops) for label, photo in zip(labels, found, strict=True) if photo.crops]
    embedded = []
    for reading in readings:
        fed = card.model_copy(update={"input": reading.input, "crop": reading.crop})
        rows = embedder_under(fed, model).embed(np.stack([crops[reading.crop] for _, crops in there]))
        embedded.append((reading, rows))
    return np.array([label for label, _ in there]), embedded


def tails(lacks: Shortfall, whole: float) -> tuple[bool, bool]:
    """Whether the difference is in the upper or lower tail around ``whole``, the pool's."""
    moved = Shortfall(lacks.value - whole, lacks.error, lacks.freedom, lacks.people).p_value(1)
    return moved < LEVEL, moved > 1 - LEVEL


@click.command()
@click.argument("model", type=MODEL_FILE)
@click.argument("photos", type=EXISTING)
@click.option("--pool", default=250, show_default=True, help="People to draw sets from.")
@click.option("--people", "sizes", multiple=True, type=int, default=(24, 48, 100), show_default=True)
@click.option("--sets", default=200, show_default=True, help="Sets of each number of people.")
@detector_option
def main(model: Path, photos: Path, pool: int, sizes: tuple[int, ...], sets: int, detector: str) -> None:
    """Measure false alarms and power, and print them."""
    labels, embedded = embedded_readings(model, photos, pool, detector)
    people = np.unique(labels)
    whole = [separation_of(rows, labels) for _, rows in embedded]
    if people.size < max(sizes):
        raise click.UsageError(f"sets of {max(sizes)} people cannot be drawn from {people.size}")
    click.echo(f"{model.stem}: {people.size} people, {labels.size} photos")
    for (reading, rows), all_people in zip(embedded, whole, strict=True):
        fnmr = 1 - all_pairs(rows, labels).tar_at(1e-2)
        click.echo(f"  separation {all_people.value:6.3f}  FNMR {100 * fnmr:6.2f} %  {reading.words}")
    for size in sizes:
        random = np.random.default_rng(size)
        worse, beyond = np.zeros(len(embedded)), np.zeros((len(embedded), 2))
        for _ in range(sets):
            chosen = np.isin(labels, random.choice(people, size, replace=False))
            apart = [separation_of(rows[chosen], labels[chosen]) for _, rows in embedded]
            best = max(apart, key=lambda one: one.value)
            worse += [shortfall(best, one).p_value(len(apart) - 1) < LEVEL for one in apart]
            beyond += [
                tails(shortfall(apart[0], one), whole[0].value - there.value)
                for one, there in zip(apart, whole, strict=True)
            ]
        click.echo(f"  {size} people, {sets} sets: called worse, tails")
        for (reading, _), share, (high, low) in zip(embedded, worse / sets, beyond / sets, strict=True):
            click.echo(f"    {100 * share:5.1f} %  {100 * high:4.1f} {100 * low:4.1f} %  {reading.words}")


if __name__ == "__main__":
    raise SystemExit(run(main))
