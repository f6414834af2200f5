"""insightface's ``.bin`` packs: LFW, CFP-FP, AgeDB-30 and others as crops with their pairs.

Photos are the images of the pack by number, so an image that several pairs share counts several times; the
pack has no identities. Folds are ten consecutive runs of pairs, as in insightface's own evaluation
(``KFold(10, shuffle=False)``): the packs are written fold by fold.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from facekd.errors import Unreadable
from facekd.verification.protocols._base import register
from facekd.verification.protocols._pair_list import Pair, PairList, pair_list

_FOLDS = 10


@register("bin", "an insightface pack FILE.bin", suffixes=(".bin",), data_is_list=True, pairs_of_photos=True)
def read(path: Path) -> PairList:
    """The pairs of the pack at ``path``.

    Raises `Unreadable` if it is not such a pack, or has too few pairs for two folds.
    """
    from facekd.preprocess import image_name, read_bin

    mated = read_bin(path).mated.tolist()
    folds = min(_FOLDS, len(mated))
    if folds < 2:
        raise Unreadable(f"{path}: one pair; a threshold is chosen on other folds, so two pairs are needed")
    pairs = [
        Pair(image_name(2 * n), image_name(2 * n + 1), same, str(_fold(n, len(mated), folds) + 1))
        for n, same in enumerate(mated)
    ]
    return replace(pair_list("bin", path, pairs), folds_from=f"{folds} consecutive runs of the pack as folds")


def _fold(pair: int, pairs: int, folds: int) -> int:
    """The run of a pair; if runs cannot be equal, the first ones are one longer."""
    length, longer = divmod(pairs, folds)
    edge = longer * (length + 1)
    return pair // (length + 1) if pair < edge else longer + (pair - edge) // length
