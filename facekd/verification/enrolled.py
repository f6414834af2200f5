"""Probe photos against enrolled persons: how often each is missed, and who is confused with whom.

Persons differ: some are often missed, some are often taken for others, some for whom others are taken
(Doddington et al., "Sheep, goats, lambs and wolves", ICSLP 1998). So rates stand by person too, with
their counts, since most persons have few photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.verification.against import Against, FalseMatches, against, false_matches
from facekd.verification.enrolled_words import gallery_table
from facekd.verification.identification import (
    FPIRS,
    OpenPoint,
    RankPoint,
    Searches,
    open_point,
    rank_points,
    search,
)
from facekd.verification.intervals import Interval
from facekd.verification.operating import Lost, OperatingPoint, whole_attempts
from facekd.verification.people import PEOPLE_FMRS
from facekd.verification.result import failures_dict

if TYPE_CHECKING:
    from rich.console import RenderableType

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Confusion:
    """``matches`` of the ``probes`` photos of person ``probe`` match the template of ``enrolled``;
    ``highest`` is the best score of these comparisons."""

    probe: str
    enrolled: str
    matches: int
    probes: int
    highest: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "probe": self.probe,
            "enrolled": self.enrolled,
            "matches": self.matches,
            "probes": self.probes,
            "highest_score": self.highest,
        }


@dataclass(frozen=True)
class PersonRates:
    """One person at the operating threshold.

    ``misses`` of ``mated`` comparisons with the own template (0 for who is not enrolled) do not match;
    ``failures`` photos gave no embedding. ``taken_for_others`` of the ``as_probe`` comparisons of the
    person's photos with others' templates match, and ``others_taken`` of the ``as_template`` comparisons
    of others' photos with the person's template.
    """

    name: str
    enrolled: bool
    mated: int
    misses: int
    failures: int
    as_probe: int
    taken_for_others: int
    as_template: int
    others_taken: int

    @property
    def fnmr(self) -> float | None:
        return self.misses / self.mated if self.mated else None

    @property
    def fmr(self) -> float | None:
        """Of the person's template; `None` for who is not enrolled."""
        return self.others_taken / self.as_template if self.as_template else None

    @property
    def fmr_as_probe(self) -> float | None:
        """Of the person's photos against others' templates."""
        return self.taken_for_others / self.as_probe if self.as_probe else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "enrolled": self.enrolled,
            "mated": self.mated,
            "misses": self.misses,
            "fnmr": self.fnmr,
            "failures_to_acquire": self.failures,
            "template_compared": self.as_template,
            "template_matched": self.others_taken,
            "fmr": self.fmr,
            "photos_compared": self.as_probe,
            "photos_matched": self.taken_for_others,
            "fmr_as_probe": self.fmr_as_probe,
        }


@dataclass(frozen=True)
class AtThreshold:
    """Both rates at the operating ``threshold``, all together and by person. ``origin`` says where it
    comes from; ``people`` are all persons, the most often missed first; ``confusions`` all pairs with a
    false match, the most frequent first."""

    threshold: float
    origin: str
    fmr: float
    fmr_interval: Interval
    false_matches: int
    fnmr: float
    fnmr_interval: Interval
    misses: int
    people: tuple[PersonRates, ...]
    confusions: tuple[Confusion, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "origin": self.origin,
            "fmr": {"value": self.fmr, "interval": self.fmr_interval.to_dict()},
            "false_matches": self.false_matches,
            "fnmr": {"value": self.fnmr, "interval": self.fnmr_interval.to_dict()},
            "misses": self.misses,
            "people": [person.to_dict() for person in self.people],
            "confusions": [pair.to_dict() for pair in self.confusions],
        }


@dataclass(frozen=True)
class GalleryResult:
    """A model on ``photos`` probe photos against the templates of ``enrolled`` persons; ``unknown``
    are the persons among the probes who are not enrolled. ``failed`` names the photos without an
    embedding, which cost the ``lost`` comparisons. ``operating`` is `None` where no threshold is known and
    none can be measured."""

    photos: int
    enrolled: int
    unknown: tuple[str, ...]
    failed: tuple[str, ...]
    lost: Lost
    scores: Against
    points: tuple[OperatingPoint, ...]
    operating: AtThreshold | None
    searches: Searches
    ranks: tuple[RankPoint, ...]
    open_set: tuple[OpenPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "enrolled": self.enrolled,
            "unknown": list(self.unknown),
            "comparisons": {
                "mated": int(self.scores.mated.size),
                "non_mated": self.scores.non_mated,
                "failed_mated": self.lost.mated,
                "failed_non_mated": self.lost.non_mated,
            },
            "failures_to_acquire": failures_dict(len(self.failed), self.photos),
            "operating_points": [point.to_dict() for point in self.points],
            "whole_attempts": [found.to_dict() for found in whole_attempts(self.points, self.lost)],
            "at_threshold": self.operating.to_dict() if self.operating else None,
            "ranks": [point.to_dict() for point in self.ranks],
            "open_set": [point.to_dict() for point in self.open_set],
        }

    def __rich__(self) -> RenderableType:
        return gallery_table(self)


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

    Rows have unit length; a probe of NaN was not acquired. Persons that are not among ``enrolled`` are
    unknown. Without an operating ``threshold``, which comes from ``origin``, that of the lowest FMR
    that the comparisons can show is taken. Raises `UsageError` where no probe of an enrolled person was
    acquired, or nobody's photo is compared with another's template.
    """
    whose, known = np.asarray(people), np.isin(people, enrolled)
    scores = against(probes, whose, templates, np.asarray(enrolled))
    points = tuple(scores.operating_point(fmr) for fmr in PEOPLE_FMRS)
    if threshold is None:
        shown = [point for point in points if point.threshold is not None]
        if shown:
            threshold = shown[-1].threshold
            origin = f"of FMR {shown[-1].fmr:g} on these very comparisons"
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
    """Photos without embedding of each person [P]."""
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
        fmr_interval=scores.fmr_interval(found.people, found.counts),
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
