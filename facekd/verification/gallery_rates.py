"""Probe photos against enrolled people: how often each is missed, and who is confused with whom.

People differ: some are often missed, some often match others, and some are often matched by others
(Doddington et al., "Sheep, goats, lambs and wolves", ICSLP 1998). Rates are therefore given by person too,
with their counts, since most people have few photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification.identification import FPIRS, open_point, rank_points, search
from facekd.verification.known_people import PEOPLE_FMRS
from facekd.verification.operating_points import Lost
from facekd.verification.probe_scores import Against, FalseMatches, against, false_matches
from facekd.verification.results import AtThreshold, Confusion, GalleryResult, PersonRates

Rows = NDArray[np.float32]


def judge_gallery(
    templates: Rows,
    enrolled: Sequence[str],
    probes: Rows,
    people: Sequence[str],
    photos: Sequence[str],
    threshold: float | None = None,
    origin: str = "",
) -> GalleryResult:
    """Compare the embeddings ``probes`` [N, D] of ``photos`` [N] of ``people`` [N] with ``templates``
    [G, D], one for each person of ``enrolled`` [G].

    Rows have unit length; a probe of NaN is a failure to acquire. People who are not among ``enrolled`` are
    unknown. Without an operating ``threshold``, whose source is ``origin``, that of the lowest FMR
    that the comparisons can show is used. Raises `UsageError` if no probe of an enrolled person was
    acquired, or there is no non-mated comparison.
    """
    whose, known = np.asarray(people), np.isin(people, enrolled)
    scores = against(probes, whose, templates, np.asarray(enrolled))
    points = tuple(scores.operating_point(fmr) for fmr in PEOPLE_FMRS)
    if threshold is None:
        shown = [point for point in points if point.threshold is not None]
        if shown:
            threshold = shown[-1].threshold
            origin = f"of FMR {shown[-1].fmr:g} on these comparisons themselves"
    operating = None
    if threshold is not None:
        matches = false_matches(probes, whose, templates, np.asarray(enrolled), threshold)
        operating = _at_threshold(scores, matches, threshold, origin, _failures(scores, probes, whose))
    searches = search(templates, enrolled, probes[known], list(whose[known]), probes[~known])
    lost = np.asarray(np.isnan(probes).all(axis=1))
    return GalleryResult(
        photos=len(photos),
        enrolled=len(enrolled),
        unknown=tuple(np.unique(whose[~known]).tolist()),
        failed=tuple(photo for photo, gone in zip(photos, lost, strict=True) if gone),
        lost=Lost(int((lost & known).sum()), int(lost.sum()) * len(enrolled) - int((lost & known).sum())),
        scores=scores,
        points=points,
        operating=operating,
        searches=searches,
        ranks=rank_points(searches),
        open_set=tuple(open_point(searches, fpir) for fpir in FPIRS),
    )


def _failures(scores: Against, probes: Rows, whose: NDArray[Any]) -> NDArray[np.int64]:
    """The number of photos without an embedding of each person [P]."""
    lost = np.isnan(probes).all(axis=1)
    return np.bincount(np.searchsorted(scores.names, whose[lost]), minlength=scores.names.size)


def _at_threshold(
    scores: Against, found: FalseMatches, threshold: float, origin: str, failures: NDArray[np.int64]
) -> AtThreshold:
    missed = scores.mated < threshold
    false = int(found.counts.sum())
    return AtThreshold(
        threshold=threshold,
        origin=origin,
        fmr=false / scores.non_mated,
        fmr_interval=scores.fmr_interval(found),
        false_matches=false,
        fnmr=float(missed.mean()),
        fnmr_interval=scores.fnmr_interval(threshold),
        misses=int(missed.sum()),
        people=_by_person(scores, found, scores.mated_people[missed], failures),
        confusions=_confusions(scores, found),
    )


def _by_person(
    scores: Against, found: FalseMatches, missed: NDArray[np.int32], failures: NDArray[np.int64]
) -> tuple[PersonRates, ...]:
    persons = scores.names.size
    misses, mated = np.bincount(missed, minlength=persons), scores.mated_sizes()
    as_probe, as_template = (
        np.bincount(found.people[:, side], found.counts, persons).astype(int) for side in (0, 1)
    )
    others_templates = scores.templates.sum() - scores.templates
    others_probes = scores.probes.sum() - scores.probes
    rates = [
        PersonRates(
            str(scores.names[p]), bool(scores.templates[p]), int(mated[p]), int(misses[p]), int(failures[p]),
            int(scores.probes[p] * others_templates[p]), int(as_probe[p]),
            int(scores.templates[p] * others_probes[p]), int(as_template[p]),
        )
        for p in range(persons)
    ]  # fmt: skip
    return tuple(sorted(rates, key=lambda rate: (-(rate.fnmr or 0), -rate.misses, rate.name)))


def _confusions(scores: Against, found: FalseMatches) -> tuple[Confusion, ...]:
    pairs = [
        Confusion(
            str(scores.names[one]), str(scores.names[other]), int(count), int(scores.probes[one]), float(most)
        )
        for (one, other), count, most in zip(found.people, found.counts, found.highest, strict=True)
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.matches, -pair.highest)))
