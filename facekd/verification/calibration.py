"""Thresholds with their false match rates, measured on data used for neither training nor test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facekd.card import Calibration, Counts, Sample, TailThreshold
from facekd.errors import UsageError
from facekd.verification.operating_points import FEWEST_FALSE_MATCHES, enough
from facekd.verification.photo_scores import AllPairs

#: the false match rates that a calibration tries; it uses the strictest that the data can show
CALIBRATED_FMRS = (1e-2, 1e-3, 1e-4)
#: lower rates, for searches: each enrolled person adds one comparison
SEARCH_FMRS = (5e-5, 2e-5, 1e-5, 5e-6, 2e-6, 1e-6)


@dataclass(frozen=True)
class Conditions:
    """The data and method of a calibration, as the card states them. ``failures`` photos have no
    embedding."""

    data: str
    detector: str
    aligner: str
    failures: int = 0
    sample: Sample | None = None
    date: str = ""

    def stated(self) -> dict[str, Any]:
        """The fields of a score map and of photo limits that state their origin."""
        return {
            "data": self.data,
            "sample": self.sample,
            "detector": self.detector,
            "aligner": self.aligner,
            "date": self.date,
        }


def calibration_at(pairs: AllPairs, fmr: float, conditions: Conditions) -> Calibration:
    """The threshold at ``fmr``, with 95 % intervals of FMR and FNMR there by the bootstrap over
    identities.

    Raises `UsageError` if fewer than 30 false matches are expected, or if that many non-mated
    comparisons score 1.
    """
    check_enough(pairs.non_mated, fmr)
    threshold = pairs.threshold_at(fmr)
    if threshold > 1:
        raise UsageError(
            f"FMR {fmr:g}: more than {fmr:g} of the non-mated comparisons score 1",
            "The model does not tell these people apart, or one person has several labels.",
        )
    false_match = pairs.fmr_interval(threshold)
    false_non_match = pairs.fnmr_interval(threshold)
    rejected = int((pairs.mated < threshold).sum())
    return Calibration(
        fmr=fmr,
        threshold=threshold,
        low=false_match.low,
        high=false_match.high,
        fnmr=rejected / pairs.mated.size,
        fnmr_low=false_non_match.low,
        fnmr_high=false_non_match.high,
        data=conditions.data,
        counts=Counts(
            mated=pairs.mated.size,
            non_mated=pairs.non_mated,
            false_matches=pairs.false_matches(threshold),
            false_non_matches=rejected,
            failures_to_acquire=pairs.failures + conditions.failures,
        ),
        detector=conditions.detector,
        aligner=conditions.aligner,
        sample=conditions.sample,
        date=conditions.date,
    )


def check_enough(non_mated: int, fmr: float) -> None:
    """Raise `UsageError`, which says how many are needed, if ``non_mated`` comparisons cannot show
    ``fmr``."""
    if enough(non_mated, fmr):
        return
    needed = int(np.ceil(FEWEST_FALSE_MATCHES / fmr * (1 - 1e-12)))
    raise UsageError(
        f"FMR {fmr:g}: insufficient data, {non_mated * fmr:.3g} false matches expected among "
        f"{non_mated:,} non-mated comparisons",
        f"{needed:,} are needed for {FEWEST_FALSE_MATCHES} false matches; add more people.",
    )


def calibration_entries(pairs: AllPairs, conditions: Conditions) -> tuple[Calibration, ...]:
    """The entries of a card's ``calibration``: one for each of `CALIBRATED_FMRS` that ``pairs`` can show.

    Raises `UsageError` as `calibration_at` does.
    """
    shown = [fmr for fmr in CALIBRATED_FMRS if enough(pairs.non_mated, fmr)]
    return tuple(calibration_at(pairs, fmr, conditions) for fmr in shown)


def upper_tail(pairs: AllPairs) -> tuple[TailThreshold, ...]:
    """A threshold for each of `SEARCH_FMRS` that ``pairs`` can show (at least 30 false matches expected), for
    the ``upper_tail`` of a card."""
    found = []
    for fmr in SEARCH_FMRS:
        threshold = pairs.threshold_at(fmr) if enough(pairs.non_mated, fmr) else 2.0
        if threshold <= 1:
            interval = pairs.fmr_interval(threshold)
            found.append(TailThreshold(fmr=fmr, threshold=threshold, low=interval.low, high=interval.high))
    return tuple(found)
