"""The words of a page of results, explained."""

from __future__ import annotations

from collections.abc import Sequence

from facekd.reporting.page import Section, Table

#: told to the reader as far as the table has them
_WORDS = (
    ("FMR", "False match rate: the share of comparisons of two different people that match."),
    (
        "TAR@FMR",
        "The share of comparisons of one person that match, at the threshold that lets at most that share "
        "of the others match. FNMR, the false non-match rate, is 1 − TAR. The rate to choose a model by.",
    ),
    (
        "accuracy",
        "The share of right decisions among as many mated as non-mated pairs. Each fold is judged by the "
        "threshold that is best on the others. It says little of low FMRs, where most systems work.",
    ),
    ("AUC", "The chance that a mated pair scores above a non-mated one."),
    ("EER", "The rate at the threshold where FMR and FNMR are equal."),
    (
        "partial AUC",
        "The area under the ROC where FMR is low, on a scale from 50 % for chance to 100 % for no error.",
    ),
    (
        "minDCF",
        "What errors cost at the best threshold where one comparison in a hundred is mated and both errors "
        "are equally bad; 1 is the cost of refusing everybody.",
    ),
    (
        "d'",
        "How far the mean scores of mated and non-mated comparisons lie apart, in units of their spread.",
    ),
    (
        "FAR, FRR",
        "False accept and false reject rate of whole attempts: a comparison that failed, since a photo gave "
        "no embedding, counts as refused.",
    ),
    (
        "rank",
        "The share of probes whose person is among the first so many of the gallery. A tie counts against "
        "it, and so does a probe without embedding.",
    ),
    (
        "FNIR@FPIR",
        "The share of probes whose person does not come first with at least the threshold that lets at most "
        "that share of the photos of strangers find anybody.",
    ),
    (
        "refused",
        "The share of the degraded photos that the limits in the model's card refuse, as verify would. The "
        "FMR of the others is of the rest.",
    ),
    (
        "clean threshold",
        "The threshold of FMR 0.01 on the listed pairs of clean crops, kept: so it is in use, where nobody "
        "chooses it anew for poor photos.",
    ),
    (
        "photos without embedding",
        "Failures to acquire and missing photos: unreadable, without a usable face, or not in the data. "
        "Their comparisons have no score.",
    ),
)
_INTERVALS = (
    "Below each number stands its 95 % interval: where the number would lie with other people of the same "
    "kind. Two models whose intervals overlap may still differ: the comparison of pairs tells. 'Insufficient "
    "data' means that fewer than 30 errors of the stated rate are expected; fewer say too little of a rate."
)
_THRESHOLDS = (
    "A threshold belongs to its model, detector and aligner, and to people like these. Take one for use from "
    "data that is not the test data, with facekd calibrate; FMRs hold for persons who do not try to "
    "be taken for another."
)


def reading_section(titles: Sequence[str]) -> Section:
    """What the words in the ``titles`` of a page's rows mean."""
    rows = tuple((word, meaning) for word, meaning in _WORDS if any(word in title for title in titles))
    return Section(
        "How to read this page",
        (_INTERVALS, _THRESHOLDS),
        (Table(("Word", "Meaning"), rows, "What the words of the tables mean"),),
    )
