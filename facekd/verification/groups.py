"""Error rates by group of people, at one threshold for all.

As in NIST's study of demographic differences (Grother, Ngan and Hanaoka, "Face recognition vendor
test part 3: demographic effects", NISTIR 8280, 2019): the threshold is that of a stated FMR over
everybody, and a group's own FMR is that of the non-mated comparisons within it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.csv_rows import CsvRows
from facekd.errors import UsageError
from facekd.files import read_text
from facekd.verification.kept_scores import KeptScores
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES, enough
from facekd.verification.results import Counts, GroupRates
from facekd.verification.score_matrix import acquired, blocks, unit

#: the false match rates over everybody for the threshold: the strictest that the counts allow is used
GROUP_FMRS = (1e-4, 1e-3, 1e-2)


def group_threshold(everyone: KeptScores) -> tuple[float, float]:
    """The strictest of `GROUP_FMRS` that the comparisons of ``everyone`` can show, and its threshold.

    Raises `UsageError` if there are too few for any of them.
    """
    for fmr in GROUP_FMRS:
        if enough(everyone.non_mated, fmr):
            return fmr, everyone.threshold_at(fmr)
    raise UsageError(
        f"{everyone.non_mated:,} non-mated comparisons are too few for a threshold to compare groups at",
        f"FMR {GROUP_FMRS[-1]:g} needs {FEWEST_FALSE_MATCHES / GROUP_FMRS[-1]:,.0f}.",
    )


def group_rates(
    embeddings: NDArray[np.float32],
    people: Sequence[str],
    groups: Sequence[str | None],
    threshold: float,
    fmr: float,
) -> GroupRates:
    """Compare every photo with every other and count by group.

    ``embeddings`` [N, D], with rows of NaN for none; ``people`` [N] and ``groups`` [N] of the
    photos, `None` for a photo without a group. Raises `UsageError` with fewer than two groups.
    """
    known = np.array([group is not None for group in groups], bool)
    there = known & acquired(embeddings)
    names, group = np.unique([g for g, kept in zip(groups, there, strict=True) if kept], return_inverse=True)
    if len(names) < 2:
        raise UsageError(
            f"the embedded photos are of {len(names)} group(s); at least two are needed",
            "The file of groups must name photos as the protocol does.",
        )
    person = np.unique(np.asarray(people)[there], return_inverse=True)[1]
    rows = unit(embeddings[there])
    matches, mated, missed = _count(rows, person, group, len(names), threshold)
    own = np.zeros((person.max() + 1, len(names)), np.int64)
    np.add.at(own, (person, group), 1)
    photos = own.sum(axis=0)
    non_mated = photos[:, None] * photos - own.T @ own
    # within a group each comparison was counted in both directions
    np.fill_diagonal(non_mated, non_mated.diagonal() // 2)
    return GroupRates(
        fmr, threshold, tuple(str(name) for name in names), photos, mated.diagonal(), missed.diagonal(),
        non_mated, _symmetric(matches), _likeness(rows, person, group, non_mated),
        int(mated.sum() - np.trace(mated)), int((~known).sum()),
    )  # fmt: skip


def _likeness(rows: NDArray[np.float32], person: Counts, group: Counts, non_mated: Counts) -> NDArray[Any]:
    """Mean non-mated score [G, G]: the scores of two sets of photos add up to the product of the sums of
    their rows, minus those of photos of the same person."""
    groups = len(non_mated)
    parts, place = np.unique(person * groups + group, return_inverse=True)
    sums = np.zeros((len(parts), rows.shape[1]))
    np.add.at(sums, place, rows.astype(np.float64))
    total = np.zeros((groups, rows.shape[1]))
    np.add.at(total, parts % groups, sums)
    scores = total @ total.T
    # the parts of a person are adjacent, one for each group that they have photos in
    for part in np.split(np.arange(len(parts)), np.flatnonzero(np.diff(parts // groups)) + 1):
        one = parts[part] % groups
        scores[np.ix_(one, one)] -= sums[part] @ sums[part].T
    np.fill_diagonal(scores, scores.diagonal() / 2)
    with np.errstate(invalid="ignore"):
        return np.where(non_mated > 0, scores / non_mated, np.nan)


def _count(
    rows: NDArray[np.float32], person: Counts, group: Counts, groups: int, threshold: float
) -> tuple[Counts, Counts, Counts]:
    """Non-mated matches, mated comparisons and those of them that miss, each [G, G] by the groups
    of the first and the second photo."""
    found = np.zeros((3, groups * groups), np.int64)
    for block in blocks(rows):
        same = person[block.rows, None] == person[block.columns]
        pair = group[block.rows, None] * groups + group[block.columns]
        above, match = block.above, block.scores >= threshold
        for place, kind in enumerate((above & ~same & match, above & same, above & same & ~match)):
            found[place] += np.bincount(pair[kind], minlength=groups * groups)
    matches, mated, missed = found.reshape(3, groups, groups)
    return matches, mated, missed


def _symmetric(counts: Counts) -> Counts:
    both = counts + counts.T
    np.fill_diagonal(both, counts.diagonal())
    return both


def read_groups(path: Path) -> Mapping[str, str]:
    """The group of each photo in a CSV that begins with ``photo,group``.

    Raises `InputOutput` if it cannot be read, `Unreadable` with the line if its format is wrong
    or a photo has a second group.
    """
    rows = CsvRows(read_text(path), path)
    if rows.head != ["photo", "group"]:
        raise rows.wrong_head("The first line must be photo,group.")
    found: dict[str, str] = {}
    for line, fields in rows:
        if len(fields) != 2 or not all(fields):
            raise rows.fault(line, "expected a photo and its group")
        photo = fields[0].replace("\\", "/").removeprefix("./")
        if found.setdefault(photo, fields[1]) != fields[1]:
            raise rows.fault(line, f"{fields[0]} has another group in an earlier line")
    return found
