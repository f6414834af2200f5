"""Arrange labelled photos for ``facekd evaluate --protocol identification``, one against many.

    python tools/arrange_identification.py lfw.zip lfw-identification.zip
    facekd evaluate MODEL... --protocol identification --data lfw-identification.zip

PHOTOS holds a folder of photos for each person. Of nine in ten people with two or more photos, the first
photo by name is enrolled and the others are searched for. Every tenth of them, and everybody with a single
photo, is unknown. Files are copied as they are.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import click

from facekd.cli import run
from facekd.cli.options import EXISTING
from facekd.preprocess import open_source

#: of people with several photos, every tenth is unknown
UNKNOWN = 10


def arranged(names: list[str]) -> Iterator[tuple[str, str]]:
    """Where each of ``names`` (PERSON/FILE, below any folders) goes."""
    people: dict[str, list[str]] = {}
    for name in sorted(names):
        people.setdefault(Path(name).parent.name, []).append(name)
    several = 0
    for person, photos in people.items():
        several += len(photos) > 1
        is_unknown = len(photos) == 1 or several % UNKNOWN == 0
        for number, photo in enumerate(photos):
            part = "unknown" if is_unknown else "probe" if number else "gallery"
            yield photo, f"{part}/{person}/{Path(photo).name}"


@click.command()
@click.argument("photos", type=EXISTING)
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def main(photos: Path, out: Path) -> None:
    source = open_source(photos)
    counts = {"gallery": 0, "probe": 0, "unknown": 0}
    with zipfile.ZipFile(out, "x") as archive:
        for name, place in arranged(source.names()):
            archive.writestr(place, source.read(name))
            counts[place.partition("/")[0]] += 1
    click.echo(", ".join(f"{count:,} {part}" for part, count in counts.items()))


if __name__ == "__main__":
    raise SystemExit(run(main))
