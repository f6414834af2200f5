"""A threshold with its false match rate, measured on data that is neither training nor test."""

from __future__ import annotations

from numpy.typing import ArrayLike

from facekd.card import Calibration, Counts
from facekd.errors import UsageError
from facekd.verification.allpairs import AllPairs, all_pairs
from facekd.verification.operating import FEWEST_FALSE_MATCHES, enough

#: the false match rates a calibration is sought at, the strictest that the data allows
CALIBRATED_FMRS = (1e-2, 1e-3, 1e-4)


def calibrate_threshold(
    pairs: AllPairs, *, data: str, detector: str, aligner: str, failures: int = 0
) -> Calibration:
    """The threshold at the lowest of `CALIBRATED_FMRS` that ``pairs`` can show.

    ``low`` and ``high`` of the entry are the 95 % interval of the FMR at that threshold, by the
    bootstrap over identities. ``failures`` photos failed before they had an embedding; they add
    to those that ``pairs`` knows of.

    Raises `UsageError` where even the highest of the rates expects fewer than 30 false matches,
    or where that many non-mated comparisons score one.
    """
    shown = [fmr for fmr in CALIBRATED_FMRS if enough(pairs.non_mated, fmr)]
    if not shown:
        raise UsageError(
            f"insufficient data to calibrate: {pairs.non_mated:,} non-mated comparisons",
            f"FMR {max(CALIBRATED_FMRS):g} needs {FEWEST_FALSE_MATCHES / max(CALIBRATED_FMRS):,.0f} "
            "of them; give more people.",
        )
    fmr = min(shown)
    threshold = pairs.threshold_at(fmr)
    if threshold > 1:
        raise UsageError(
            f"more than {fmr:g} of the non-mated comparisons score 1",
            "The model does not tell these people apart, or one person has several labels.",
        )
    interval = pairs.fmr_interval(threshold)
    rejected = int((pairs.mated < threshold).sum())
    return Calibration(
        fmr=fmr,
        threshold=threshold,
        low=interval.low,
        high=interval.high,
        fnmr=rejected / pairs.mated.size,
        data=data,
        counts=Counts(
            mated=pairs.mated.size,
            non_mated=pairs.non_mated,
            false_matches=pairs.false_matches(threshold),
            false_non_matches=rejected,
            failures_to_acquire=pairs.failures + failures,
        ),
        detector=detector,
        aligner=aligner,
    )


def calibration_entries(
    embeddings: ArrayLike, labels: ArrayLike, *, data: str, detector: str, aligner: str, failures: int = 0
) -> tuple[Calibration, ...]:
    """What a card's ``calibration`` can hold from ``embeddings`` [N, D] of persons ``labels`` [N]:
    one entry, or none where there are too few comparisons for any.

    Raises `UsageError` as `all_pairs` does.
    """
    pairs = all_pairs(embeddings, labels)
    if not enough(pairs.non_mated, max(CALIBRATED_FMRS)):
        return ()
    return (calibrate_threshold(pairs, data=data, detector=detector, aligner=aligner, failures=failures),)
