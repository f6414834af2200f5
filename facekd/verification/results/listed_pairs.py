"""The result of a model on a list of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification import metrics
from facekd.verification.accuracy import Accuracy, Fold
from facekd.verification.operating_points import Lost, OperatingPoint, whole_attempts
from facekd.verification.photo_scores import AllPairs
from facekd.verification.results.base import failures_dict
from facekd.verification.results.pair_rates import PairRates

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairResult:
    """A model on a list of pairs.

    ``scores`` [P] are NaN if a comparison failed; ``right`` [P] says which were decided correctly
    at the cross-validated threshold. ``everyone`` is the result for all pairs of the photos, or `None` with
    the reason in ``no_all_pairs``. ``failed`` names the photos without an embedding. ``pair_people``
    [P, 2] are the two people of each comparison, `None` if they are not known.
    """

    protocol: str
    source: str
    folds_from: str
    photos: int
    failed: tuple[str, ...]
    scores: Floats
    mated: NDArray[np.bool_]
    right: NDArray[np.bool_]
    folds: tuple[Fold, ...]
    accuracy: Accuracy
    accuracy_with_failures: Accuracy
    rates: PairRates
    everyone: AllPairs | None
    everyone_points: tuple[OperatingPoint, ...]
    no_all_pairs: str | None
    pair_people: NDArray[np.int64] | None = None

    @property
    def completed(self) -> NDArray[np.bool_]:
        return np.isfinite(self.scores)

    @property
    def is_balanced(self) -> bool:
        """Whether neither kind of comparison is more than a tenth more numerous: otherwise accuracy mostly
        reflects the more numerous kind."""
        mated = int(self.mated.sum())
        fewer, more = sorted((mated, self.mated.size - mated))
        return more <= 1.1 * fewer

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the shares of mated and of non-mated comparisons that were decided correctly, among
        the completed ones; NaN if there is none of a kind."""
        shares = [self.right[kind & self.completed].mean() if (kind & self.completed).any() else np.nan
                  for kind in (self.mated, ~self.mated)]  # fmt: skip
        return float(np.mean(shares))

    @property
    def lost(self) -> Lost:
        """The lost ones of the listed comparisons."""
        return Lost.of(self.scores, self.mated)

    def curve(self) -> metrics.Roc:
        """The ROC of the completed comparisons."""
        return metrics.roc(
            self.scores[self.mated & self.completed], self.scores[~self.mated & self.completed]
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "folds_from": self.folds_from,
            "comparisons": {
                "mated": int(self.mated.sum()),
                "non_mated": int((~self.mated).sum()),
                "failed_mated": self.lost.mated,
                "failed_non_mated": self.lost.non_mated,
            },
            "failures_to_acquire": failures_dict(len(self.failed), self.photos),
            "accuracy": self.accuracy.to_dict(),
            "accuracy_with_failures": self.accuracy_with_failures.to_dict(),
            "balanced": self.is_balanced,
            "balanced_accuracy": self.balanced_accuracy,
            "folds": [fold.to_dict() for fold in self.folds],
            **self.rates.to_dict(),
            "operating_points": [point.to_dict() for point in self.rates.points],
            "whole_attempts": [found.to_dict() for found in whole_attempts(self.rates.points, self.lost)],
            "all_pairs": self._all_pairs_dict(),
            "caveats": list(self.rates.caveats),
        }

    def _all_pairs_dict(self) -> dict[str, Any]:
        if self.everyone is None:
            return {"absent": self.no_all_pairs}
        return {
            "mated": int(self.everyone.mated.size),
            "non_mated": self.everyone.non_mated,
            "failed_mated": self.everyone.lost_mated,
            "failed_non_mated": self.everyone.lost_non_mated,
            "operating_points": [point.to_dict() for point in self.everyone_points],
            "whole_attempts": [
                found.to_dict() for found in whole_attempts(self.everyone_points, self.everyone.lost)
            ],
        }
