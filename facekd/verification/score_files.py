"""Files of scores: ``score,label``, one line a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.csv_rows import CsvRows, csv_line
from facekd.errors import UsageError
from facekd.files import read_text, write_atomically
from facekd.verification.results import Floats

_LABELS = {"1": True, "0": False, "true": True, "false": False}


def read_scores(path: Path) -> tuple[Floats, NDArray[np.bool_]]:
    """The scores [P] and labels [P] of a CSV whose first line names the columns ``score`` and
    ``label`` among others; label 1 is one person, 0 two, and no score is a failed comparison.

    Raises `InputOutput` where it cannot be read, `Unreadable` with the line where its form is broken.
    """
    rows = CsvRows(read_text(path), path)
    if "score" not in rows.head or "label" not in rows.head:
        raise rows.wrong_head(
            "A score file begins with the line score,label; further columns are left alone."
        )
    places = rows.head.index("score"), rows.head.index("label")
    found = [_score(rows, line, fields, places) for line, fields in rows]
    scores = np.array([score for score, _ in found], np.float64)
    return scores, np.array([mated for _, mated in found], bool)


def _score(rows: CsvRows, line: int, fields: list[str], places: tuple[int, int]) -> tuple[float, bool]:
    if len(fields) != len(rows.head):
        raise rows.fault(line, f"{len(rows.head)} columns expected, {len(fields)} are there")
    score, label = (fields[place] for place in places)
    if label.lower() not in _LABELS:
        raise rows.fault(line, f"label '{label}' is neither 1 (one person) nor 0")
    try:
        value = float(score) if score else np.nan
    except ValueError as error:
        raise rows.fault(line, f"score '{score[:40]}' is no number") from error
    if score and not np.isfinite(value):
        raise rows.fault(line, f"score '{score[:40]}' is not finite")
    return value, _LABELS[label.lower()]


def write_scores(
    path: Path, scores: Floats, mated: NDArray[np.bool_], pairs: Sequence[tuple[str, str]]
) -> None:
    """Write ``score,label,first,second``, one line for each comparison; a failed one has no score, and
    no name is a formula.

    Raises `InputOutput` where it cannot be written, `UsageError` where numbers do not fit.
    """
    if not len(scores) == len(mated) == len(pairs):
        raise UsageError(f"{len(scores)} scores, {len(mated)} labels and {len(pairs)} pairs do not fit")
    lines = [csv_line(["score", "label", "first", "second"])]
    for score, one_person, names in zip(scores.tolist(), mated.tolist(), pairs, strict=True):
        # repr gives every digit that it takes to read the same number again
        lines.append(csv_line([repr(score) if np.isfinite(score) else "", str(int(one_person)), *names]))
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
