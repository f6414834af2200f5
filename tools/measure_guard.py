"""Measure what the guard of enrollment refuses, rightly and wrongly, by the size of the gallery.

    python tools/measure_guard.py edgeface_xs.onnx train-labelled-1.zip --calibrated 350

PACKS contain aligned crops, named Person/crop.jpg. Thresholds come from all pairs of --calibrated people;
galleries are drawn repeatedly from the others. --enrolled photos of each person are
enrolled, and single photos are tried: of newcomers, of enrolled people under a second name,
of enrolled people under their own, and of strangers under the name of somebody enrolled. Prints the share
of each that the guard refuses (for the last: accepts). Then the same for folders of somebody new: five
photos, one of them a stranger's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.card import Card, read_card
from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.gallery import Contract, GalleryRecords, Template
from facekd.verification import CALIBRATED_FMRS, Conditions, all_pairs, calibration_at
from facekd.workflows import EnrollmentGuard, all_crops, embedded_packs

Floats = NDArray[np.float32]
#: the photos of a person, [photos, D]
People = list[Floats]

CASES = ("newcomers refused", "second names refused", "own photos refused", "strangers' photos taken as own")
#: people of one gallery that are tried in each case
TRIED = 20


def photos_of_people(model: Path, packs: tuple[Path, ...], seed: int) -> People:
    """The embeddings of each person of ``packs``, in random order."""
    by_person: dict[str, list[Floats]] = {}
    for pack in embedded_packs(all_crops(packs), model):
        for name, row in zip(pack.names, pack.rows, strict=True):
            if np.isfinite(row).all():
                by_person.setdefault(name.rsplit("/", 1)[0], []).append(row)
    rng = np.random.default_rng(seed)
    people = [rng.permutation(np.stack(rows)) for rows in by_person.values()]
    return [people[place] for place in rng.permutation(len(people))]


def calibrated(card: Card, people: People) -> Card:
    labels = np.repeat(np.arange(len(people)), [len(rows) for rows in people])
    pairs = all_pairs(np.concatenate(people), labels)
    how = Conditions(f"{len(people)} people", "none", "none")
    entries = tuple(calibration_at(pairs, fmr, how) for fmr in CALIBRATED_FMRS)
    return card.model_copy(update={"calibration": entries})


class OneGallery:
    """A gallery of the first ``size`` of ``people``; the others are strangers to it."""

    def __init__(self, card: Card, people: People, size: int, enrolled: int, file: Path) -> None:
        self.people, self.size, self.enrolled = people, size, enrolled
        contract = Contract(card.space, people[0].shape[1], card.name, "none", "none")
        self.records = GalleryRecords(file, contract, create=True)
        self._made = 0
        with self.records.transaction():
            for number, rows in enumerate(people[:size]):
                self.records.add(f"p{number}", [self._template(row) for row in rows[:enrolled]])
        self.guard = EnrollmentGuard(card, self.records)

    def _template(self, row: Floats) -> Template:
        self._made += 1
        return Template(row, f"{self._made:064x}", 1.0)

    def refuses(self, name: str, row: Floats) -> bool:
        photo = self._template(row)
        findings, _ = self.guard.judge(name, [photo])
        return photo.photo in findings and findings[photo.photo].refused

    def folder(self, number: int, stranger: int) -> tuple[bool, list[bool]]:
        """Whether the guard refuses a stranger's photo among four of somebody new, and which of those."""
        photos = [self._template(row) for row in (*self.people[number][:4], self.people[stranger][0])]
        findings, _ = self.guard.judge("somebody new", photos)
        *own, other = (p.photo in findings and findings[p.photo].refused for p in photos)
        return other, own

    def tried(self) -> list[list[bool]]:
        """For each of `CASES`, the outcomes of all photos that were tried."""
        known = range(min(self.size, TRIED))
        strangers = range(self.size, min(len(self.people), self.size + TRIED))
        spare = {number: self.people[number][self.enrolled] for number in known}
        named = zip(strangers, (k % self.size for k in range(TRIED)), strict=False)
        return [
            [self.refuses("somebody new", self.people[number][0]) for number in strangers],
            [self.refuses("a second name", spare[number]) for number in known],
            [self.refuses(f"p{number}", spare[number]) for number in known],
            [not self.refuses(f"p{owner}", self.people[stranger][0]) for stranger, owner in named],
        ]


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("packs", type=EXISTING, nargs=-1, required=True)
@click.option("--calibrated", "calibrating", default=350, show_default=True)
@click.option("--size", "sizes", type=click.IntRange(1), multiple=True, default=(5, 30, 100))
@click.option("--enrolled", "counts", type=click.IntRange(1), multiple=True, default=(1, 3))
@click.option("--galleries", default=50, show_default=True, help="Galleries drawn of each size.")
@click.option("--seed", default=0, show_default=True)
def main(
    model: Path,
    packs: tuple[Path, ...],
    calibrating: int,
    sizes: tuple[int, ...],
    counts: tuple[int, ...],
    galleries: int,
    seed: int,
) -> None:
    """Measure the guard with MODEL on the people of PACKS."""
    everybody = photos_of_people(model, packs, seed)
    card = calibrated(read_card(model)[0], everybody[:calibrating])
    people = [rows for rows in everybody[calibrating:] if len(rows) > max(counts)]
    limits = ", ".join(f"{entry.fmr:g}: {entry.threshold:.3f}" for entry in card.calibration)
    click.echo(f"{card.name}, {calibrating} people for thresholds ({limits}), {len(people)} for galleries")
    click.echo(f"| people enrolled, photos of each | {' | '.join(CASES)} |\n| --- |{' --- |' * len(CASES)}")
    for enrolled in counts:
        for size in sizes:
            rng = np.random.default_rng([seed, size, enrolled])
            came_true: list[list[bool]] = [[] for _ in CASES]
            with tempfile.TemporaryDirectory() as folder:
                for number in range(galleries):
                    drawn = [people[place] for place in rng.permutation(len(people))]
                    gallery = OneGallery(card, drawn, size, enrolled, Path(folder) / f"{number}.db")
                    with gallery.records:
                        for case, found in zip(came_true, gallery.tried(), strict=True):
                            case += found
            cells = [f"{100 * np.mean(case):.1f} % of {len(case):,}" for case in came_true]
            click.echo(f"| {size}, {enrolled} | {' | '.join(cells)} |")
    with tempfile.TemporaryDirectory() as folder:
        gallery = OneGallery(card, people, 1, max(counts), Path(folder) / "folders.db")
        with gallery.records:
            several = [number for number in range(1, len(people) - 1) if len(people[number]) >= 4]
            looked = [gallery.folder(number, number + 1) for number in several]
    others, own = [other for other, _ in looked], [one for _, ones in looked for one in ones]
    click.echo(
        f"of {len(looked):,} folders {100 * np.mean(others):.1f} % of the strangers' photos are refused, "
        f"{100 * np.mean(own):.1f} % of the others"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
