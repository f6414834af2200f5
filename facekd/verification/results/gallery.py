"""The result of probe photos against enrolled people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.verification.intervals import Interval
from facekd.verification.operating_points import Lost, OperatingPoint, whole_attempts
from facekd.verification.probe_scores import Against
from facekd.verification.results.base import failures_dict
from facekd.verification.results.identification import OpenPoint, RankPoint, Searches


@dataclass(frozen=True)
class Confusion:
    """``matches`` of the ``probes`` photos of person ``probe`` match the template of ``enrolled``;
    ``highest`` is the highest score of these comparisons."""

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

    ``misses`` of ``mated`` comparisons with their own template (0 if not enrolled) do not match;
    ``failures`` photos have no embedding. ``taken_for_others`` of the ``as_probe`` comparisons of the
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
        """The FMR of the person's template; `None` if not enrolled."""
        return self.others_taken / self.as_template if self.as_template else None

    @property
    def fmr_as_probe(self) -> float | None:
        """The FMR of the person's photos against others' templates."""
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
    """Both rates at the operating ``threshold``, overall and by person. ``origin`` is the source of the
    threshold; ``people`` are all people, the most often missed first; ``confusions`` all pairs with a
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
    """A model on ``photos`` probe photos against the templates of ``enrolled`` people; ``unknown``
    are the people among the probes who are not enrolled. ``failed`` names the photos without an
    embedding, which cost the ``lost`` comparisons. ``operating`` is `None` if no threshold is known and
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
