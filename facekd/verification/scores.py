"""Scores without folds: template pairs, and score files that another system may have written."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.files import write_atomically
from facekd.verification.operating import Lost, OperatingPoint, whole_attempts
from facekd.verification.pictures.plots import scored_figure
from facekd.verification.pictures.scored import Scored
from facekd.verification.rates import PairRates, pair_rates
from facekd.verification.result import failures_dict, score_completed
from facekd.verification.tables import alone, attempt_rows, failures_row, measure, shortfalls, tar

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

#: the false match rates at which scores are judged, as far as their number allows
SCORE_FMRS = (1e-2, 1e-3, 1e-4, 1e-5)
_LABELS = {"1": True, "0": False, "true": True, "false": False}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreResult:
    """Listed comparisons without folds: ``scores`` [P], NaN where one failed, and ``mated`` [P].

    ``photos`` is `None` where only scores are known; else ``failed`` names those of them without an
    embedding. ``pair_people`` [P, 2] are the persons of each comparison, `None` where they are not
    known.
    """

    protocol: str
    source: str
    photos: int | None
    failed: tuple[str, ...]
    scores: Floats
    mated: NDArray[np.bool_]
    rates: PairRates
    pair_people: NDArray[np.int64] | None = None

    @property
    def completed(self) -> NDArray[np.bool_]:
        return np.isfinite(self.scores)

    @property
    def lost(self) -> Lost:
        failed = ~self.completed
        return Lost(int((failed & self.mated).sum()), int((failed & ~self.mated).sum()))

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """The operating points, from the highest FMR to the lowest."""
        return tuple(sorted(self.rates.points, key=lambda point: -point.fmr))

    def scored(self) -> tuple[Scored, ...]:
        """The comparisons for pictures."""
        return (score_completed(self.scores, self.mated, self.pair_people, self.points),)

    def rows(self) -> list[tuple[str, str]]:
        lost = int((~self.completed).sum())
        gone = ("comparisons without score", f"{lost:,} of {self.scores.size:,}")
        return [
            ("AUC", measure(self.rates.auc.value, self.rates.auc.interval, 3)),
            ("EER", measure(self.rates.eer.value, self.rates.eer.interval)),
            *[(f"TAR@FMR {point.fmr:g}", tar(point)) for point in self.points],
            *attempt_rows(self.points, self.lost),
            gone if self.photos is None else failures_row(len(self.failed), self.photos),
        ]

    def notes(self) -> list[str]:
        mated = int((self.mated & self.completed).sum())
        non_mated = int(self.completed.sum()) - mated
        return [
            f"{mated:,} mated and {non_mated:,} non-mated comparisons completed of {self.scores.size:,}; no "
            "folds, so no accuracy.",
            *shortfalls(self.points),
            *self.rates.caveats,
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "comparisons": {
                "mated": int(self.mated.sum()),
                "non_mated": int((~self.mated).sum()),
                "failed_mated": self.lost.mated,
                "failed_non_mated": self.lost.non_mated,
            },
            "failures_to_acquire": failures_dict(len(self.failed), self.photos) if self.photos else None,
            **self.rates.to_dict(),
            "operating_points": [point.to_dict() for point in self.points],
            "whole_attempts": [found.to_dict() for found in whole_attempts(self.points, self.lost)],
            "caveats": list(self.rates.caveats),
        }

    def figure(self) -> Figure:
        return self.figure_of({self.protocol: self})

    @staticmethod
    def figure_of(results: Mapping[str, ScoreResult]) -> Figure:
        return scored_figure({name: found.scored() for name, found in results.items()})

    def __rich__(self) -> RenderableType:
        return alone(self)


def judge_scores(
    protocol: str,
    source: str,
    scores: Floats,
    mated: NDArray[np.bool_],
    people: NDArray[np.int64] | None = None,
    photos: int | None = None,
    failed: Sequence[str] = (),
) -> ScoreResult:
    """Rates of ``scores`` [P], NaN where a comparison failed, with ``mated`` [P].

    ``people`` [P, 2] are the persons of each comparison, for the bootstrap over identities. Raises
    `UsageError` where no mated or no non-mated comparison was completed.
    """
    done = np.isfinite(scores)
    yes, no = done & mated, done & ~mated
    ones, others = (None, None) if people is None else (people[yes, 0], people[no])
    rates = pair_rates(scores[yes], scores[no], ones, others, SCORE_FMRS)
    return ScoreResult(protocol, source, photos, tuple(failed), scores, mated, rates, people)


def read_scores(path: Path) -> tuple[Floats, NDArray[np.bool_]]:
    """The scores [P] and labels [P] of a CSV whose first line names the columns ``score`` and
    ``label`` among others; label 1 is one person, 0 two, and no score is a failed comparison.

    Raises `InputOutput` where it cannot be read, `Unreadable` with the line where its form is broken.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputOutput(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not a text file ({error.reason})") from error
    rows = csv.reader(io.StringIO(text))
    head = [column.strip().lower() for column in next(rows, [])]
    if "score" not in head or "label" not in head:
        raise Unreadable(
            f"{path}: its first line is '{','.join(head)[:60]}'",
            "A score file begins with the line score,label; further columns are left alone.",
        )
    places = head.index("score"), head.index("label")
    try:
        found = [_score(path, rows.line_num, row, places, len(head)) for row in rows if row]
    except csv.Error as error:
        raise Unreadable(f"{path}, line {rows.line_num}: {error}") from error
    scores = np.array([score for score, _ in found], np.float64)
    return scores, np.array([mated for _, mated in found], bool)


def _score(
    path: Path, line: int, row: list[str], places: tuple[int, int], columns: int
) -> tuple[float, bool]:
    if len(row) != columns:
        raise Unreadable(f"{path}, line {line}: {columns} columns expected, {len(row)} are there")
    score, label = (row[place].strip() for place in places)
    if label.lower() not in _LABELS:
        raise Unreadable(f"{path}, line {line}: label '{label}' is neither 1 (one person) nor 0")
    try:
        value = float(score) if score else np.nan
    except ValueError as error:
        raise Unreadable(f"{path}, line {line}: score '{score[:40]}' is no number") from error
    if score and not np.isfinite(value):
        raise Unreadable(f"{path}, line {line}: score '{score[:40]}' is not finite")
    return value, _LABELS[label.lower()]


def write_scores(
    path: Path, scores: Floats, mated: NDArray[np.bool_], pairs: Sequence[tuple[str, str]]
) -> None:
    """Write ``score,label,first,second``, one line for each comparison; a failed one has no score.

    Raises `InputOutput` where it cannot be written, `UsageError` where numbers do not fit.
    """
    if not len(scores) == len(mated) == len(pairs):
        raise UsageError(f"{len(scores)} scores, {len(mated)} labels and {len(pairs)} pairs do not fit")
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["score", "label", "first", "second"])
    for score, one_person, names in zip(scores.tolist(), mated.tolist(), pairs, strict=True):
        # repr gives every digit that it takes to read the same number again
        lines.writerow([repr(score) if np.isfinite(score) else "", int(one_person), *names])
    write_atomically(path, text.getvalue().encode())
