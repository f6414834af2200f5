"""Celebrities in Frontal-Profile: CFP-FP and CFP-FF from the folder ``Protocol``, as published.

Sengupta et al., "Frontal to profile face verification in the wild", WACV 2016. ``Pair_list_F.txt``
and ``Pair_list_P.txt`` number the frontal and the profile photos ("1 ../Data/Images/001/frontal/01.jpg");
``Split/FP/01/same.txt`` lists the mated pairs of a fold as "3,1", a frontal number and a profile
number, ``diff.txt`` the non-mated ones; ``Split/FF`` pairs frontal numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from facekd.errors import InputOutput, Unreadable
from facekd.verification.protocols._base import register
from facekd.verification.protocols._pair_list import Pair, PairList, pair_list, read_text

_FRONTAL, _PROFILE = "Pair_list_F.txt", "Pair_list_P.txt"
#: the list that is searched for; its folder is read
_FOUND_BY = (f"Protocol/{_FRONTAL}", f"cfp-dataset/Protocol/{_FRONTAL}")


@register("cfp-fp", "CFP, frontal against profile", lists=_FOUND_BY, pairs_of_photos=True)
def read_fp(path: Path) -> PairList:
    """Frontal against profile: ``path`` is the folder ``Protocol`` or a list in it.

    Raises `Unreadable` with the file and line if the format is wrong, `InputOutput` if a file
    is missing.
    """
    folder = _folder(path)
    return _read("cfp-fp", folder, folder / "Split" / "FP", _photos(folder / _PROFILE))


@register("cfp-ff", "CFP, frontal against frontal", lists=_FOUND_BY, pairs_of_photos=True)
def read_ff(path: Path) -> PairList:
    """Frontal against frontal; as `read_fp`."""
    folder = _folder(path)
    return _read("cfp-ff", folder, folder / "Split" / "FF", _photos(folder / _FRONTAL))


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _read(name: str, folder: Path, split: Path, seconds: dict[int, str]) -> PairList:
    firsts = _photos(folder / _FRONTAL)
    folds = sorted(fold for fold in split.iterdir() if fold.is_dir()) if split.is_dir() else []
    if not folds:
        raise InputOutput(f"{split}: no folds in it", "Lay the folder out as in the published archive.")
    pairs: list[Pair] = []
    for fold in folds:
        for file, mated in (("same.txt", True), ("diff.txt", False)):
            numbers = _numbers(fold / file, firsts, seconds)
            pairs += [Pair(firsts[a], seconds[b], mated, fold.name) for a, b in numbers]
    return pair_list(name, folder, pairs, person_of)


def _photos(path: Path) -> dict[int, str]:
    """The photos of a numbered list, each as ``PERSON/POSE/PHOTO``, without leading folders."""
    photos = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        place, _, written = line.strip().partition(" ")
        parts = PurePosixPath(written.strip().replace("\\", "/")).parts[-3:]
        if not place.isdecimal() or len(parts) != 3 or ".." in parts:
            raise Unreadable(f"{path}, line {number}: expected a number and a path PERSON/POSE/PHOTO")
        photos[int(place)] = "/".join(parts)
    return photos


def _numbers(path: Path, firsts: dict[int, str], seconds: dict[int, str]) -> Iterator[tuple[int, int]]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            first, second = (int(field) for field in line.split(","))
        except ValueError as error:
            raise Unreadable(f"{path}, line {number}: expected two numbers with a comma") from error
        if first not in firsts or second not in seconds:
            raise Unreadable(f"{path}, line {number}: no photo has the number {line.strip()}")
        yield first, second


def person_of(photo: str) -> str:
    """The person of ``PERSON/POSE/PHOTO``."""
    return photo.partition("/")[0]
