"""Measure whether identify keeps the false positive identification rate that it states.

    facekd align lfw.zip lfw-crops.zip
    python tools/measure_search_rates.py student.onnx lfw-crops.zip --aligned
    python tools/measure_search_rates.py student.onnx lfw-crops.zip --aligned --photos 3
    python tools/measure_search_rates.py student.onnx lfw-crops.zip --aligned \
        --more train-unlabelled-1.zip:athletes --size 6000
    python tools/measure_search_rates.py student.onnx lfw-crops.zip --aligned \
        --more train-unlabelled-1.zip:athletes --only

PHOTOS has a folder of photos for each person. Galleries of --size people are drawn repeatedly, each enrolled
by the direction of the mean of --photos photos; the first photo of everybody else is a stranger's. --more
adds people with one photo each, --only leaves out those of PHOTOS. The threshold is the one that identify
takes, by the gallery's own scores or by the model's card. For every size and requested FPIR: where the
threshold comes from; the stated interval; the share of strangers who are found, over all galleries together
and in the middle 95 % of them; the number of galleries in which it is below, within and above the stated
interval, after allowing for the sampling error with so many strangers, or in which identify gives no
decision; and the share of enrolled people whose other photo is not found (FNIR).

Galleries have people and strangers in common: the spread over them is not that over other people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from cropped_photos import CroppedPhotos, aligned_option, embedded
from numpy.typing import NDArray

from facekd.card import Card, read_card
from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.runtime import Embedder, fuse, load_embedder
from facekd.verification import tail_of_gallery
from facekd.workflows import OwnScores, all_crops, embedded_packs, search_threshold

Floats = NDArray[np.float32]

FPIRS = (0.1, 0.01)
SIZES = (10, 40, 60, 100, 600, 1000, 3000)


@dataclass(frozen=True)
class People:
    """The ``first`` photo of each person [P, D]; the ``templates`` and ``again``, another photo, of those who
    have enough photos, NaN for the others."""

    first: Floats
    templates: Floats
    again: Floats


@dataclass
class Kept:
    """The results for one size and rate, a value for each gallery."""

    sources: list[str] = field(default_factory=list)
    stated: list[tuple[float, float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)
    undecided: int = 0

    def row(self, size: int, fpir: float, strangers: int) -> str:
        if not self.rates:
            return f"| {size:,} | {fpir:g} | insufficient data | | | | | |"
        low, high = np.percentile(self.rates, [2.5, 97.5])
        rates, ends = np.array(self.rates), np.array(self.stated)
        middle = ends.mean(axis=1)
        # the rate is measured on so many strangers only (Agresti and Coull, since often none is found)
        near = (rates * strangers + 2) / (strangers + 4)
        error = 1.96 * np.sqrt(near * (1 - near) / (strangers + 4))
        half = np.hypot((ends[:, 1] - ends[:, 0]) / 2, error)
        below, above = (rates < middle - half).sum(), (rates > middle + half).sum()
        spread = (below, rates.size - below - above, above, self.undecided)
        interval = ", ".join(f"{end:.2g}" for end in ends.mean(axis=0))
        return (
            f"| {size:,} | {fpir:g} | {' or '.join(sorted(set(self.sources)))} | [{interval}] | "
            f"{rates.mean():.2g} [{low:.2g}, {high:.2g}] | {strangers:,} | "
            f"{', '.join(map(str, spread))} | {_share(self.missed)} |"
        )


def _share(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.1%}" if known else ""


def people_of(photos: CroppedPhotos, photos_each: int, embedder: Embedder) -> People:
    by_person = [names[: photos_each + 1] for names in photos.by_person().values()]
    rows = embedded(photos, [name for names in by_person for name in names], embedder)
    each = np.split(rows, np.cumsum([len(names) for names in by_person])[:-1])
    each = [own[np.isfinite(own).all(axis=1)] for own in each]
    each = [own for own in each if len(own)]
    nothing = np.full(rows.shape[1], np.nan, np.float32)
    return People(
        np.stack([own[0] for own in each]),
        np.stack([fuse(list(own[:photos_each])) if len(own) >= photos_each else nothing for own in each]),
        np.stack([own[photos_each] if len(own) > photos_each else nothing for own in each]),
    )


def with_more(people: People, groups: Sequence[str], model: Path) -> People:
    """``people`` and those with one photo each in folders of packs."""
    for group in groups:
        pack, _, folder = group.rpartition(":")
        crops = all_crops([Path(pack)])[0]
        chosen = tuple(name for name in crops.names if name.startswith(f"{folder}/"))
        parts = embedded_packs([type(crops)(crops.pack, chosen)], model)
        rows = np.concatenate([part.rows for part in parts])
        people = People(
            np.concatenate([people.first, rows]),
            np.concatenate([people.templates, rows]),
            np.concatenate([people.again, np.full_like(rows, np.nan)]),
        )
    return people


def drawn(people: People, size: int, galleries: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Who is enrolled in each gallery, and the strangers."""
    able = np.flatnonzero(np.isfinite(people.templates).all(axis=1))
    for seed in range(galleries):
        enrolled = np.random.default_rng([size, seed]).permutation(able)[:size]
        yield enrolled, np.setdiff1d(np.arange(len(people.first)), enrolled)


def measured(people: People, size: int, galleries: int, single: bool, card: Card) -> dict[float, Kept]:
    kept = {fpir: Kept() for fpir in FPIRS}
    for enrolled, others in drawn(people, size, galleries):
        templates = people.templates[enrolled]
        # as `calibrate_gallery` does: newcomers bring one photo
        probes = None if single else people.first[enrolled]
        own = OwnScores(tail_of_gallery([str(number) for number in enrolled], templates, probes), size)
        highest = (people.first[others] @ templates.T).max(axis=1)
        again = people.again[enrolled] @ templates.T
        there = np.isfinite(again).all(axis=1)
        mine = np.diagonal(again)
        for fpir, found in kept.items():
            rule = search_threshold(card, own, size, fpir)
            if rule.value is None or rule.low is None or rule.high is None:
                found.undecided += 1
                continue
            found.sources.append(rule.source)
            found.stated.append((rule.low, rule.high))
            found.rates.append(float((highest >= rule.value).mean()))
            hit = (mine >= rule.value) & (mine >= again.max(axis=1))
            found.missed.append(1 - float(hit[there].mean()) if there.any() else np.nan)
    return kept


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("photos", type=EXISTING)
@click.option("--photos", "each", type=click.IntRange(1), default=1, show_default=True, help="Per person.")
@click.option("--more", multiple=True, help="PACK:FOLDER of aligned crops of different people.")
@click.option("--only", is_flag=True, help="Only those of --more, not the people of PHOTOS.")
@click.option("--size", "sizes", type=click.IntRange(2), multiple=True, default=SIZES)
@click.option("--galleries", default=40, show_default=True, help="Galleries drawn of each size.")
@aligned_option
def main(
    model: Path, photos: Path, each: int, more: tuple[str, ...], only: bool, sizes: tuple[int, ...],
    galleries: int, aligned: bool,
) -> None:  # fmt: skip
    """Measure the FPIR of searches by MODEL on the people of PHOTOS."""
    if only and not more:
        raise click.UsageError("--only needs --more.")
    card, embedder = read_card(model)[0], load_embedder(model, threads=1)
    nobody = np.zeros((0, card.embedding.dim), np.float32)
    people = (
        People(nobody, nobody, nobody)
        if only
        else people_of(CroppedPhotos(photos, embedder.spec, aligned), each, embedder)
    )
    people = with_more(people, more, model)
    able = int(np.isfinite(people.templates).all(axis=1).sum())
    click.echo(f"{card.name}: {len(people.first):,} people, {able:,} with {each} photos to enroll")
    click.echo(
        "| enrolled | --fpir | threshold from | stated interval | strangers found | strangers | "
        "galleries below, within, above, undecided | FNIR |\n" + "| --- " * 8 + "|"
    )
    for size in sizes:
        # strangers are needed to measure by
        if size <= able and len(people.first) - size >= 300:
            for fpir, kept in measured(people, size, galleries, each == 1, card).items():
                click.echo(kept.row(size, fpir, len(people.first) - size))


if __name__ == "__main__":
    raise SystemExit(run(main))
