"""Compare rules for people with several templates: the direction of the mean, the highest score,
or the mean of the highest three.

    facekd align lfw.zip lfw-crops.zip
    python tools/measure_matching_rules.py student.onnx lfw-crops.zip --aligned

PHOTOS has a folder of photos for each person. Of people with more than --enrolled photos, that many are
enrolled and up to five others searched for; the first photo of everybody else is a stranger's. Prints FNIR
(not found first, or below the threshold) at an FPIR of 0.1 and 0.01, each rule at its own threshold, and its
difference from that of "mean", with a 95 % interval by the bootstrap over the enrolled people.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from cropped_photos import CroppedPhotos, aligned_option, embedded
from numpy.typing import NDArray

from facekd.card import read_card
from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.gallery import RULES, Contract, Everybody, Rule, SearchIndex
from facekd.runtime import load_embedder
from facekd.verification import replicated

Floats = NDArray[np.float32]

FPIRS = (0.1, 0.01)
#: the most photos of a person that are searched for
_PROBES = 5


@dataclass(frozen=True)
class InMemory:
    """Records without a file."""

    contract: Contract
    all: Everybody

    def state(self) -> str | None:
        return "in memory"

    def version(self) -> int:
        return 0

    def names(self) -> list[str]:
        return list(self.all.names)

    def everybody(self) -> Everybody:
        return self.all


def wanted_of(photos: CroppedPhotos, enrolled: int) -> list[str]:
    """The photos of each person that are used."""
    return [
        name
        for names in photos.by_person().values()
        for name in (names[: enrolled + _PROBES] if len(names) > enrolled else names[:1])
    ]


def misses(
    rule: Rule, records: InMemory, own: list[tuple[str, Floats]], strangers: Floats
) -> dict[float, NDArray[np.float64]]:
    """For each photo of ``own`` people, in a row, whether it is missed at each of `FPIRS`."""
    index = SearchIndex(records, rule)
    highest = np.sort(index.search(strangers, 1).scores[:, 0])[::-1]
    asked = np.concatenate([rows for _, rows in own])
    whose = [name for name, rows in own for _ in rows]
    found = index.search(asked, 1)
    first = np.array([names[0] == name for names, name in zip(found.names, whose, strict=True)])
    return {fpir: 1.0 - (first & (found.scores[:, 0] > highest[int(fpir * highest.size)])) for fpir in FPIRS}


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("photos", type=EXISTING)
@click.option("--enrolled", type=click.IntRange(2), default=3, show_default=True)
@aligned_option
@click.option("--kept", type=click.Path(path_type=Path), help="Where the embeddings are kept.")
def main(model: Path, photos: Path, enrolled: int, aligned: bool, kept: Path | None) -> None:
    """Compare the matching rules by MODEL on the people of PHOTOS."""
    embedder = load_embedder(model, threads=1)
    pack = CroppedPhotos(photos, embedder.spec, aligned)
    names = wanted_of(pack, enrolled)
    if kept is not None and kept.exists():
        saved = np.load(kept)
        by_name = dict(zip(saved["names"].tolist(), saved["rows"], strict=True))
        rows = np.stack([by_name[name] for name in names])
    else:
        rows = embedded(pack, names, embedder)
        if kept is not None:
            np.savez(kept, names=np.array(names), rows=rows)
    by_person: dict[str, list[Floats]] = {}
    for name, row in zip(names, rows, strict=True):
        if np.isfinite(row).all():
            by_person.setdefault(name.rpartition("/")[0], []).append(row)
    people = {name: np.stack(own) for name, own in by_person.items() if len(own) > enrolled}
    strangers = np.stack([own[0] for own in by_person.values() if len(own) == 1])
    templates = np.concatenate([own[:enrolled] for own in people.values()])
    counts = np.full(len(people), enrolled, np.int64)
    card = read_card(model)[0]
    contract = Contract(card.digest, card.embedding.dim, card.name, "mtcnn", "")
    records = InMemory(contract, Everybody(tuple(people), counts, templates))
    own = [(name, rows[enrolled:]) for name, rows in people.items()]
    place = np.repeat(np.arange(len(own)), [len(rows) for _, rows in own])
    click.echo(
        f"{card.name}: {len(people):,} people with {enrolled} photos each, {place.size:,} searches for them, "
        f"{len(strangers):,} for strangers"
    )
    missed = {rule: misses(rule, records, own, strangers) for rule in RULES}
    for rule in RULES:
        for fpir in FPIRS:
            differs = missed[rule][fpir] - missed["mean"][fpir]

            def of(weights: NDArray[np.float64], differs: NDArray[np.float64] = differs) -> list[float]:
                return [float(weights[place] @ differs / weights[place].sum())]

            low, high = np.percentile(replicated(of, len(people)), [2.5, 97.5])
            click.echo(
                f"{rule}: FNIR {missed[rule][fpir].mean():.2%} at FPIR {fpir:g}, "
                f"{differs.mean():+.2%} [{low:+.2%}, {high:+.2%}] against mean"
            )


if __name__ == "__main__":
    raise SystemExit(run(main))
