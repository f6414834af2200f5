"""Explanations of the terms on a page of results."""

from __future__ import annotations

from collections.abc import Sequence

from facekd.reporting.page import Section, Table

#: the terms; a page explains those that its tables contain
_WORDS = (
    ("FMR", "False match rate: the share of comparisons of two different people that match."),
    (
        "TAR@FMR",
        "The share of mated comparisons that match, at the threshold at which at most that share of the "
        "non-mated ones match. FNMR, the false non-match rate, is 1 − TAR. Choose a model by this rate.",
    ),
    (
        "accuracy",
        "The share of correct decisions among as many mated as non-mated pairs. Each fold is decided at the "
        "threshold that is best on the others. It says little about low FMRs, at which most systems work.",
    ),
    ("AUC", "The probability that a mated pair scores above a non-mated one."),
    ("EER", "The rate at the threshold where FMR and FNMR are equal."),
    (
        "partial AUC",
        "The area under the ROC where FMR is low, on a scale from 50 % for chance to 100 % for no error.",
    ),
    (
        "minDCF",
        "The cost of errors at the best threshold if one comparison in a hundred is mated and both errors "
        "are equally bad; 1 is the cost of refusing everybody.",
    ),
    (
        "d'",
        "The distance between the mean scores of mated and non-mated comparisons, in units of their spread.",
    ),
    (
        "FAR, FRR",
        "Transaction error rates, false accept and false reject: a comparison that failed because a photo "
        "has no embedding counts as refused.",
    ),
    (
        "rank",
        "The share of probes whose person is among the first N of the gallery. A tie counts as an "
        "error, and so does a probe without an embedding.",
    ),
    (
        "FNIR@FPIR",
        "The share of probes whose person is not first, or is below the threshold at which at most that "
        "share of the photos of people who are not enrolled find anybody.",
    ),
    (
        "refused",
        "The share of the degraded photos that the limits in the model's card refuse, as verify would. The "
        "FMR of the others is that of the remaining photos.",
    ),
    (
        "clean threshold",
        "The threshold of FMR 0.01 on the listed pairs of clean crops, as in use, where it is not changed "
        "for poor photos.",
    ),
    (
        "photos without embedding",
        "Failures to acquire and missing photos: unreadable, without a usable face, or not in the data. "
        "Their comparisons have no score.",
    ),
)
_INTERVALS = (
    "Below each number is its 95 % interval: the range for other people of the same kind. Two models "
    "with overlapping intervals may still differ: see the paired comparison. 'Insufficient "
    "data' means that fewer than 30 errors are expected at the stated rate, too few to measure it."
)
_THRESHOLDS = (
    "A threshold is valid for its model, detector and aligner, and for people like these. For use, measure "
    "one with facekd calibrate on data other than the test data; FMRs are those of people who do not try to "
    "impersonate others."
)


def reading_section(titles: Sequence[str]) -> Section:
    """The meaning of the terms in the ``titles`` of a page's rows."""
    rows = tuple((word, meaning) for word, meaning in _WORDS if any(word in title for title in titles))
    return Section(
        "How to read this page",
        (_INTERVALS, _THRESHOLDS),
        (Table(("Term", "Meaning"), rows, "The terms in the tables"),),
    )
