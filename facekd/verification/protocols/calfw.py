"""CALFW and CPLFW: the pair lists of Cross-Age and Cross-Pose LFW, as published.

Zheng, Deng and Hu, "Cross-Age LFW", arXiv:1708.08197, 2017; Zheng and Deng, "Cross-Pose LFW", BUPT
technical report 18-01, 2018. A pair is two lines ``name.jpg flag``. A flag of 0 means two people,
any other one person (CALFW writes the number of the fold there, but not for the non-mated pairs).
The folds are therefore made by order, which is the layout of the published lists, 300 and 300 in a fold.
"""

from __future__ import annotations

from pathlib import Path

from facekd.errors import Unreadable
from facekd.verification.protocols._base import register
from facekd.verification.protocols._pair_list import Pair, PairList, pair_list, read_text


@register("calfw", "Cross-Age LFW", lists=("pairs_CALFW.txt",), pairs_of_photos=True)
def read_calfw(path: Path) -> PairList:
    """CALFW's list at ``path``. Raises `Unreadable` with the line if the format is wrong."""
    return _read("calfw", path)


@register("cplfw", "Cross-Pose LFW", lists=("pairs_CPLFW.txt",), pairs_of_photos=True)
def read_cplfw(path: Path) -> PairList:
    """CPLFW's list at ``path``. Raises `Unreadable` with the line if the format is wrong."""
    return _read("cplfw", path)


def _read(name: str, path: Path) -> PairList:
    numbered = enumerate(read_text(path).splitlines(), 1)
    photos = [_photo(path, number, line) for number, line in numbered if line.strip()]
    if len(photos) % 2:
        raise Unreadable(f"{path}: {len(photos)} photos; two lines make a pair")
    pairs = []
    for (number, first, flag), (_, second, other) in zip(photos[::2], photos[1::2], strict=True):
        if flag != other:
            raise Unreadable(f"{path}, line {number}: its flag is {flag}, that of the next line is {other}")
        pairs.append(Pair(first, second, mated=flag != 0))
    return pair_list(name, path, pairs, person_of)


def _photo(path: Path, number: int, line: str) -> tuple[int, str, int]:
    fields = line.split()
    if len(fields) != 2 or not fields[1].isdecimal():
        raise Unreadable(f"{path}, line {number}: expected the name of a photo and a number")
    return number, fields[0], int(fields[1])


def person_of(photo: str) -> str:
    """The person that a file is named after: ``Ann_Lee`` for ``Ann_Lee_0002.jpg``."""
    return photo.rpartition("_")[0]
