"""Measure whether a gallery's own thresholds have the stated rates for people who are not enrolled.

    facekd align lfw.zip lfw-crops.zip
    python tools/measure_gallery_thresholds.py student.onnx lfw-crops.zip --aligned \
        --group train-unlabelled-1.zip:athletes --people train-labelled-1.zip

PHOTOS has a folder of photos for each person. Galleries of --size people are drawn repeatedly; people who are
not drawn are newcomers who search in it. Beside one sharp photo of each person, populations are the same
people with blurred photos, or blurred in the gallery only; a folder of aligned crops of different people, of
one group (--group PACK:FOLDER); and people with three photos each (--people), whose templates are compared
with each other or with one of the photos. For every rate: the rate of newcomers at the gallery's own
threshold, as a multiple of the stated one (mean, and the middle 95 % of the galleries); the number of
galleries in which it is within the stated interval; the same multiple at the threshold of the card, and the
share of people who miss their own template with another photo at either.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from cropped_photos import CroppedPhotos, aligned_option
from numpy.typing import NDArray

from facekd.card import Card, read_card
from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.preprocess import blurred
from facekd.runtime import Embedder, fuse, load_embedder
from facekd.verification import GalleryThreshold, tail_of_gallery
from facekd.workflows import all_crops, embedded_packs

Floats = NDArray[np.float32]

#: the blur of the blurred photos, in pixels of the crop
SIGMA = 2.0
#: the requested rates: an FMR, or the FPIR of a search in the gallery itself
RATES = (("FMR", 1e-2), ("FMR", 1e-3), ("FMR", 1e-4), ("FMR", 1e-5), ("FPIR", 0.1), ("FPIR", 0.03))
#: photos in a template of several
SEVERAL = 3


@dataclass(frozen=True)
class Population:
    """People [P] with a template each and a photo that newcomers have; ``probes`` represent such photos
    in the gallery itself (`None`: the templates do), and the rows of ``again``, NaN if there is none, are
    compared with the own template."""

    name: str
    templates: Floats
    newcomers: Floats
    probes: Floats | None = None
    again: Floats | None = None


@dataclass
class Tally:
    """The results for each gallery: rates at its own threshold and at the card's, as multiples of the
    stated one, whether the stated interval contains the former, and the misses of own people."""

    own: list[float]
    card: list[float]
    held: list[bool]
    missed_own: list[float]
    missed_card: list[float]
    doubles: list[int]
    independent: list[float]


def photos_twice(photos: CroppedPhotos, embedder: Embedder) -> tuple[list[str], Floats]:
    """The people in ``photos``, and the embeddings [P, 2, 2, D] of two photos of each, sharp and
    blurred; NaN if there is no second photo or no face."""
    by_person = photos.by_person()
    people = sorted(by_person)
    rows = np.full((len(people), 2, 2, embedder.card.embedding.dim), np.nan, np.float32)
    with click.progressbar(people, label="photos") as shown:
        for place, person in enumerate(shown):
            for which, name in enumerate(by_person[person][:2]):
                crop = photos.crop(name)
                if crop is not None:
                    rows[place, which] = embedder.embed(np.stack([crop, blurred(crop, SIGMA)]))
    return people, rows


def of_photos(rows: Floats) -> Iterator[Population]:
    there = np.isfinite(rows[:, 0]).all(axis=(1, 2))
    first, second = rows[there, 0], rows[there, 1]
    yield Population("one photo", first[:, 0], first[:, 0], again=second[:, 0])
    yield Population("one blurred photo", first[:, 1], first[:, 1], again=second[:, 1])
    yield Population("one blurred photo, newcomers sharp", first[:, 1], first[:, 0], again=second[:, 0])


def of_group(group: str, model: Path) -> Population:
    """Different people in one folder of a pack."""
    pack, _, folder = group.rpartition(":")
    crops = all_crops([Path(pack)])[0]
    chosen = [name for name in crops.names if name.startswith(f"{folder}/")]
    kept = type(crops)(crops.pack, tuple(chosen))
    rows = np.concatenate([part.rows for part in embedded_packs([kept], model)])
    return Population(f"{folder} only", rows, rows)


def of_several(packs: Sequence[Path], merged: dict[str, str], model: Path) -> Iterator[Population]:
    """People of ``packs`` with more than `SEVERAL` photos."""
    by_person: dict[str, list[Floats]] = {}
    for part in embedded_packs(all_crops(packs), model):
        for name, row in zip(part.names, part.rows, strict=True):
            person = name.split("/")[-2]
            if np.isfinite(row).all():
                by_person.setdefault(merged.get(person, person), []).append(row)
    rows = np.stack([photos[: SEVERAL + 1] for photos in by_person.values() if len(photos) > SEVERAL])
    templates = np.stack([fuse(list(photos[:SEVERAL])) for photos in rows])
    last = rows[:, SEVERAL]
    yield Population(f"{SEVERAL} photos, templates compared", templates, last, again=last)
    yield Population(f"{SEVERAL} photos, one compared with templates", templates, last, rows[:, 0], last)


def measured(people: Population, size: int, galleries: int, card: Card) -> dict[tuple[str, float], Tally]:
    """The results for each of `RATES` for which ``size`` people are sufficient."""
    found: dict[tuple[str, float], Tally] = {}
    for seed in range(galleries):
        order = np.random.default_rng([size, seed]).permutation(len(people.templates))
        enrolled, others = order[:size], order[size:]
        templates = people.templates[enrolled]
        probes = None if people.probes is None else people.probes[enrolled]
        tail = tail_of_gallery([str(number) for number in enrolled], templates, probes)
        scores = people.newcomers[others] @ templates.T
        again = None
        if people.again is not None:
            again = (people.again[enrolled] * templates).sum(axis=1)
            again = again[np.isfinite(again)]
        for kind, rate in RATES:
            asked = tail.threshold_at_fmr(rate) if kind == "FMR" else tail.threshold_at_fpir(rate)
            if asked.threshold is not None:
                tally = found.setdefault((kind, rate), Tally([], [], [], [], [], [], []))
                tally.doubles.append(len(tail.doubles))
                count(tally, asked, scores, again, card.at(rate) if kind == "FMR" else None)
    return found


def count(tally: Tally, asked: GalleryThreshold, scores: Floats, again: Floats | None, entry: object) -> None:
    threshold, interval = asked.threshold, asked.interval
    assert threshold is not None  # asked for only where there is one
    assert interval is not None
    fmr = float((scores >= threshold).mean())
    rate = fmr if asked.kind == "fmr" else float((scores.max(axis=1) >= threshold).mean())
    tally.own.append(rate / asked.rate)
    tally.held.append(interval.low <= rate <= interval.high)
    if asked.kind == "fpir":
        tally.independent.append((1 - (1 - fmr) ** scores.shape[1]) / asked.rate)
    if again is not None:
        tally.missed_own.append(float((again < threshold).mean()))
    card = getattr(entry, "threshold", None)
    if card is not None:
        tally.card.append(float((scores >= card).mean()) / asked.rate)
        if again is not None:
            tally.missed_card.append(float((again < card).mean()))


def shown(values: list[float], scale: float = 1, spread: bool = True) -> str:
    if not values:
        return ""
    text = f"{scale * np.mean(values):.2f}"
    if spread:
        low, high = np.percentile(values, [2.5, 97.5])
        text += f" [{scale * low:.2f}, {scale * high:.2f}]"
    return text


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("photos", type=EXISTING)
@click.option("--group", "groups", multiple=True, help="PACK:FOLDER of aligned crops of different people.")
@click.option("--people", "packs", type=EXISTING, multiple=True, help="Pack of Person/crop.")
@click.option("--merge", type=EXISTING_FILE, help="CSV of labels of one person: label,merge_into,...")
@click.option("--size", "sizes", type=click.IntRange(2), multiple=True, default=(300, 1000, 3000))
@click.option("--galleries", default=100, show_default=True, help="Galleries drawn of each size.")
@aligned_option
@click.option("--kept", type=click.Path(path_type=Path), help="Where the embeddings of PHOTOS are kept.")
def main(
    model: Path,
    photos: Path,
    groups: tuple[str, ...],
    packs: tuple[Path, ...],
    merge: Path | None,
    sizes: tuple[int, ...],
    galleries: int,
    aligned: bool,
    kept: Path | None,
) -> None:
    """Measure gallery thresholds by MODEL on the people of PHOTOS."""
    card = read_card(model)[0]
    if kept is not None and kept.exists():
        rows = np.load(kept)["rows"]
    else:
        embedder = load_embedder(model, threads=1)
        people, rows = photos_twice(CroppedPhotos(photos, embedder.spec, aligned), embedder)
        if kept is not None:
            np.savez(kept, people=np.array(people), rows=rows)
    merged: dict[str, str] = {}
    if merge is not None:
        with merge.open(encoding="utf-8", newline="") as lines:
            merged = {line["label"]: line["merge_into"] for line in csv.DictReader(lines)}
    populations = [*of_photos(rows), *(of_group(group, model) for group in groups)]
    if packs:
        populations += of_several(packs, merged, model)
    click.echo(f"{card.name}, {galleries} galleries of each kind; rates are multiples of the promised one")
    click.echo(
        "| people | enrolled | rate | own threshold | interval holds | independent | card's | doubles | "
        "missed, own | missed, card's |\n" + "| --- " * 10 + "|"
    )
    for population in populations:
        for size in sizes:
            # newcomers are needed to measure by
            if size + 300 > len(population.templates):
                continue
            for (kind, rate), tally in measured(population, size, galleries, card).items():
                cells = (
                    f"{population.name} ({len(population.templates):,})", f"{size:,}", f"{kind} {rate:g}",
                    shown(tally.own), f"{np.mean(tally.held):.0%}",
                    shown(tally.independent, spread=False), shown(tally.card),
                    shown([float(count) for count in tally.doubles], spread=False),
                    shown(tally.missed_own, 100, False), shown(tally.missed_card, 100, False),
                )  # fmt: skip
                click.echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    raise SystemExit(run(main))
