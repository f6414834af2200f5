"""Labeled Faces in the Wild: the pair lists of View 1 and View 2, as published.

Huang, Ramesh, Berg and Learned-Miller, "Labeled Faces in the Wild", UMass Amherst technical report
07-49, 2007. A list begins with the number of folds and of pairs in each ("10 300"; View 1 states
the pairs only: "500"), then holds, fold by fold, the mated pairs ("name 1 4") and as many
non-mated ones ("name 1 name 2").
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from facekd.errors import Unreadable
from facekd.verification.protocols._base import register
from facekd.verification.protocols._pair_list import Pair, PairList, pair_list, read_text


@register("lfw", "LFW's pairs.txt", lists=("pairs.txt", "lfw_pairs.txt"), pairs_of_photos=True)
def read(path: Path) -> PairList:
    """The list at ``path``. View 1 has one set, so its folds are made by order.

    Raises `Unreadable` with the line if the format is wrong.
    """
    lines = [line.split() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    head = lines[0] if lines else []
    if len(head) not in (1, 2) or not all(field.isdecimal() and int(field) for field in head):
        raise Unreadable(
            f"{path}: not an LFW pair list: it begins with '{' '.join(head)[:40]}'",
            "View 2's begins with '10 300'. For path1,path2,label lists use --protocol pairs.",
        )
    folds, size = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
    if len(lines) - 1 != folds * size * 2:
        raise Unreadable(
            f"{path}: its first line announces {folds * size * 2} pairs, but there are {len(lines) - 1}"
        )
    return pair_list("lfw", path, list(_pairs(path, lines, folds, size)))


def _pairs(path: Path, lines: list[list[str]], folds: int, size: int) -> Iterator[Pair]:
    for place, fields in enumerate(lines[1:]):
        mated = place % (2 * size) < size
        fold = str(place // (2 * size) + 1) if folds > 1 else None
        try:
            if mated:
                name, first, second = fields
                other = name
            else:
                name, first, other, second = fields
            yield Pair(photo(name, int(first)), photo(other, int(second)), mated, fold)
        except ValueError as error:
            form = "a name and two numbers" if mated else "a name, a number, a name, a number"
            raise Unreadable(f"{path}, line {place + 2}: expected {form}") from error


def photo(name: str, number: int) -> str:
    """LFW's own path of a photo."""
    return f"{name}/{name}_{number:04d}.jpg"
