"""Files of scores: ``score,label``, one line for each comparison."""

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
    """The scores [P] and labels [P] of a CSV with the columns ``score`` and ``label`` among others;
    label 1 is one person, 0 two people, and an empty score is a failed comparison.

    Raises `InputOutput` if it cannot be read, `Unreadable` with the line if its format is wrong.
    """
    rows = CsvRows(read_text(path), path)
    if "score" not in rows.head or "label" not in rows.head:
        raise rows.wrong_head("The first line must be score,label; further columns are ignored.")
    places = rows.head.index("score"), rows.head.index("label")
    found = [_score(rows, line, fields, places) for line, fields in rows]
    scores = np.array([score for score, _ in found], np.float64)
    return scores, np.array([mated for _, mated in found], bool)


def _score(rows: CsvRows, line: int, fields: list[str], places: tuple[int, int]) -> tuple[float, bool]:
    if len(fields) != len(rows.head):
        raise rows.fault(line, f"expected {len(rows.head)} columns, found {len(fields)}")
    score, label = (fields[place] for place in places)
    if label.lower() not in _LABELS:
        raise rows.fault(line, f"label '{label}' must be 1 (one person) or 0 (two people)")
    try:
        value = float(score) if score else np.nan
    except ValueError as error:
        raise rows.fault(line, f"score '{score[:40]}' is not a number") from error
    if score and not np.isfinite(value):
        raise rows.fault(line, f"score '{score[:40]}' is not finite")
    return value, _LABELS[label.lower()]


def write_scores(
    path: Path, scores: Floats, mated: NDArray[np.bool_], pairs: Sequence[tuple[str, str]]
) -> None:
    """Write ``score,label,first,second``, one line for each comparison; a failed one has no score. Names are
    made harmless for spreadsheets (`csv_line`).

    Raises `InputOutput` if it cannot be written, `UsageError` if the numbers of rows differ.
    """
    if not len(scores) == len(mated) == len(pairs):
        raise UsageError(f"{len(scores)} scores, {len(mated)} labels and {len(pairs)} pairs differ in number")
    lines = [csv_line(["score", "label", "first", "second"])]
    for score, one_person, names in zip(scores.tolist(), mated.tolist(), pairs, strict=True):
        # repr writes every digit needed to read the same number again
        lines.append(csv_line([repr(score) if np.isfinite(score) else "", str(int(one_person)), *names]))
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
