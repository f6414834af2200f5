"""Cross-validated accuracy: each fold is evaluated at a threshold chosen on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification.intervals import Interval, clopper_pearson
from facekd.verification.metrics import best_threshold


@dataclass(frozen=True)
class Fold:
    """One fold at the threshold of the others. ``accuracy`` is over the completed comparisons
    (NaN if there are none), ``accuracy_with_failures`` counts the others as errors."""

    name: str
    threshold: float
    comparisons: int
    failures: int
    right: int

    @property
    def accuracy(self) -> float:
        completed = self.comparisons - self.failures
        return self.right / completed if completed else float("nan")

    @property
    def accuracy_with_failures(self) -> float:
        return self.right / self.comparisons

    def to_dict(self) -> dict[str, Any]:
        return {
            "fold": self.name,
            "accuracy": self.accuracy,
            "accuracy_with_failures": self.accuracy_with_failures,
            "threshold": self.threshold,
            "comparisons": self.comparisons,
            "failures": self.failures,
        }


@dataclass(frozen=True)
class Accuracy:
    """Mean over folds, with the standard deviation between folds and the standard error of the mean."""

    mean: float
    std: float
    standard_error: float
    interval: Interval

    def to_dict(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "std": self.std,
            "standard_error": self.standard_error,
            "interval": self.interval.to_dict(),
        }


def cross_validate(
    scores: NDArray[np.float64], mated: NDArray[np.bool_], fold: NDArray[np.int64], names: tuple[str, ...]
) -> tuple[tuple[Fold, ...], NDArray[np.bool_]]:
    """Evaluate every fold at the best threshold of the others.

    ``scores`` [P] with NaN for a failed comparison, ``mated`` [P], ``fold`` [P] indices into
    ``names``. Returns the folds and which comparisons were decided correctly [P]; a failed one never
    is. Raises `UsageError` if the other folds lack a mated or non-mated score.
    """
    completed = np.isfinite(scores)
    right = np.zeros(scores.size, bool)
    folds = []
    for index, name in enumerate(names):
        here, others = fold == index, (fold != index) & completed
        if not (others & mated).any() or not (others & ~mated).any():
            raise UsageError(
                f"fold {name}: the other folds have no completed mated or no completed non-mated comparison",
                "A threshold cannot be chosen from them; give more pairs or other folds.",
            )
        threshold = best_threshold(scores[others & mated], scores[others & ~mated])
        right[here] = completed[here] & ((scores[here] >= threshold) == mated[here])
        folds.append(
            Fold(name, threshold, int(here.sum()), int((here & ~completed).sum()), int(right[here].sum()))
        )
    return tuple(folds), right


def summarise(folds: tuple[Fold, ...], with_failures: bool = False) -> Accuracy:
    """The mean accuracy of ``folds`` with its 95 % interval.

    The interval is Student's over the folds (Huang et al., "Labeled Faces in the Wild", 2007,
    report the same standard error). If all folds are equal that would have no width: the interval is then
    Clopper-Pearson's over the comparisons.
    """
    kind = "accuracy_with_failures" if with_failures else "accuracy"
    values = np.array([getattr(fold, kind) for fold in folds])
    values = values[np.isfinite(values)]
    mean = float(values.mean())
    std = float(values.std(ddof=1)) if values.size > 1 else 0.0
    error = std / float(np.sqrt(values.size))
    if std < 1e-12:
        trials = sum(f.comparisons - (0 if with_failures else f.failures) for f in folds)
        return Accuracy(mean, std, error, clopper_pearson(sum(f.right for f in folds), trials))
    from scipy.special import stdtrit

    half = float(stdtrit(values.size - 1, 0.975)) * error
    return Accuracy(mean, std, error, Interval(max(0.0, mean - half), min(1.0, mean + half), "t over folds"))
