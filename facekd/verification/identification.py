"""One against many: who of the enrolled is this, and is it anybody at all?

Words and rates are those of ISO/IEC 19795-1 and of NIST's 1:N evaluations (Grother et al., "Face
recognition vendor test part 2: identification", NISTIR 8271, 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.intervals import Interval, rule_of_three, wilson
from facekd.verification.operating import FEWEST_FALSE_MATCHES, enough
from facekd.verification.pictures.drawing import LIGHT, figure_of
from facekd.verification.pictures.plots import cmc_draw, open_set_draw
from facekd.verification.result import failures_dict
from facekd.verification.tables import alone, failures_row, measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

RANKS = (1, 5, 10)
#: the false positive identification rates at which open-set searches are judged
FPIRS = (1e-1, 1e-2, 1e-3)
#: probes that are compared with the whole gallery at once
_ROWS = 512
_INDEPENDENT = (
    "Wilson's intervals count probes as independent; they are too narrow where a person has several."
)

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Searches:
    """What searching a gallery of ``enrolled`` templates gave.

    For the probes of enrolled persons: ``rank`` [P], that of their own template (0 where the probe
    or the template is missing), and ``own`` [P], its score (-inf likewise). A tie counts against the
    own template. For those of nobody enrolled: ``highest`` [U], the best score, -inf for a probe
    that was not acquired, and ``nearest`` [U], the place of the template that has it (-1 likewise).
    """

    enrolled: int
    rank: NDArray[np.int64]
    own: Floats
    highest: Floats
    nearest: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class RankPoint:
    """The share of mated searches that find their person among the first ``rank``."""

    rank: int
    hits: int
    searches: int

    @property
    def rate(self) -> float:
        return self.hits / self.searches

    @property
    def interval(self) -> Interval:
        return wilson(self.hits, self.searches)

    def to_dict(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "rate": self.rate,
            "interval": self.interval.to_dict(),
            "hits": self.hits,
            "searches": self.searches,
        }


@dataclass(frozen=True)
class OpenPoint:
    """FNIR at a stated FPIR: the share of ``mated`` searches whose own template does not come first
    with at least ``threshold``. ``misses`` and ``threshold`` are `None` where fewer than 30 false
    positives are expected among the ``non_mated`` searches."""

    fpir: float
    mated: int
    non_mated: int
    misses: int | None = None
    threshold: float | None = None
    false_positives: int | None = None

    @property
    def fnir(self) -> float | None:
        return None if self.misses is None else self.misses / self.mated

    @property
    def interval(self) -> Interval | None:
        return None if self.misses is None else wilson(self.misses, self.mated)

    @property
    def shortfall(self) -> str | None:
        """Why there is no number, with the bound that the counts allow; `None` if there is one."""
        if self.misses is not None:
            return None
        if self.non_mated == 0:
            return "insufficient data: no photos of persons who are not enrolled"
        return (
            f"insufficient data: {self.non_mated * self.fpir:.3g} false positives expected, "
            f"{FEWEST_FALSE_MATCHES} needed; {self.non_mated:,} non-mated searches without one would "
            f"bound the FPIR by {rule_of_three(self.non_mated):.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "fpir": self.fpir,
            "fnir": self.fnir,
            "threshold": self.threshold,
            "interval": self.interval.to_dict() if self.interval else None,
            "misses": self.misses,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "false_positives": self.false_positives,
            "insufficient": self.shortfall,
        }


@dataclass(frozen=True)
class IdentificationResult:
    """A model on a gallery of ``people`` persons. ``failed`` names the photos without an embedding;
    ``failed_probes`` of them were searched with, and ``not_enrolled`` persons had no other photo."""

    protocol: str
    source: str
    photos: int
    people: int
    failed: tuple[str, ...]
    failed_probes: int
    not_enrolled: tuple[str, ...]
    searches: Searches
    ranks: tuple[RankPoint, ...]
    points: tuple[OpenPoint, ...]

    def rows(self) -> list[tuple[str, str]]:
        ranked = [(f"rank {point.rank}", measure(point.rate, point.interval)) for point in self.ranks]
        opened = [(f"FNIR@FPIR {point.fpir:g}, open set", _fnir(point)) for point in self.points]
        return [*ranked, *opened, failures_row(len(self.failed), self.photos)]

    def notes(self) -> list[str]:
        found = self.searches
        gone = f", {len(self.not_enrolled)} persons could not be enrolled" if self.not_enrolled else ""
        said = [
            f"Gallery: {found.enrolled:,} of {self.people:,} persons enrolled, one template each{gone}. "
            f"{found.rank.size:,} mated and {found.highest.size:,} non-mated searches; "
            f"{self.failed_probes:,} photos searched with gave no embedding: a mated one counts as a miss.",
            _INDEPENDENT,
        ]
        return [*said, *[f"FNIR@FPIR {p.fpir:g}: {p.shortfall}." for p in self.points if p.shortfall]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "people": self.people,
            "enrolled": self.searches.enrolled,
            "not_enrolled": list(self.not_enrolled),
            "searches": {
                "mated": int(self.searches.rank.size),
                "non_mated": int(self.searches.highest.size),
                "failed": self.failed_probes,
            },
            "failures_to_acquire": failures_dict(len(self.failed), self.photos),
            "ranks": [point.to_dict() for point in self.ranks],
            "cmc": self.cmc().tolist(),
            "open_set": [point.to_dict() for point in self.points],
            "caveats": [_INDEPENDENT],
        }

    def cmc(self) -> Floats:
        """The cumulative match characteristic [enrolled]: the rate at rank 1, 2, ..."""
        return cmc(self.searches)

    def figure(self) -> Figure:
        return self.figure_of({self.protocol: self})

    @staticmethod
    def figure_of(results: Mapping[str, IdentificationResult]) -> Figure:
        """CMC on the left, FNIR over FPIR on the right, one colour for each model."""
        return identification_figure(results)

    def __rich__(self) -> RenderableType:
        return alone(self)


def search(
    templates: Rows, people: Sequence[str], probes: Rows, whose: Sequence[str], unknown: Rows
) -> Searches:
    """Search ``templates`` [G, D], one for each of ``people`` [G], with ``probes`` [P, D] of the
    persons ``whose`` [P] and with the ``unknown`` [U, D], who are none of them.

    Rows have unit length; a row of NaN in ``probes`` or ``unknown`` was not acquired. Persons in
    ``whose`` without a template are never found. Raises `UsageError` for an empty gallery.
    """
    if not len(templates):
        raise UsageError("nobody could be enrolled: no photo of the gallery gave an embedding")
    place = {person: index for index, person in enumerate(people)}
    own_place = np.array([place.get(person, -1) for person in whose], np.int64)
    rank = np.zeros(len(probes), np.int64)
    own = np.full(len(probes), -np.inf)
    usable = np.flatnonzero((own_place >= 0) & ~np.isnan(probes).all(axis=1))
    for start in range(0, usable.size, _ROWS):
        here = usable[start : start + _ROWS]
        scores = np.clip(probes[here] @ templates.T, -1, 1)
        mine = scores[np.arange(here.size), own_place[here]]
        own[here] = mine
        # the own template is among those that are at least as high
        rank[here] = (scores >= mine[:, None]).sum(axis=1)
    highest, nearest = np.full(len(unknown), -np.inf), np.full(len(unknown), -1)
    there = np.flatnonzero(~np.isnan(unknown).all(axis=1))
    for start in range(0, there.size, _ROWS):
        here = there[start : start + _ROWS]
        scores = np.clip(unknown[here] @ templates.T, -1, 1)
        highest[here], nearest[here] = scores.max(axis=1), scores.argmax(axis=1)
    return Searches(len(templates), rank, own, highest, nearest)


def cmc(searches: Searches) -> Floats:
    """The share of mated searches that find their person at rank 1, 2, ... [enrolled]."""
    found = np.bincount(searches.rank, minlength=searches.enrolled + 1)[1:]
    return np.cumsum(found) / searches.rank.size


def rank_points(searches: Searches) -> tuple[RankPoint, ...]:
    """The rates at `RANKS`, as far as so many are enrolled."""
    found = searches.rank[searches.rank > 0]
    ranks = [rank for rank in RANKS if rank == 1 or rank <= searches.enrolled]
    return tuple(RankPoint(rank, int((found <= rank).sum()), searches.rank.size) for rank in ranks)


def open_point(searches: Searches, fpir: float) -> OpenPoint:
    """FNIR at the smallest threshold whose FPIR is at most ``fpir``, over all searches: one whose
    photo was not acquired gives no false positive, and a mated one is a miss."""
    mated, non_mated = searches.rank.size, searches.highest.size
    if not enough(non_mated, fpir):
        return OpenPoint(fpir, mated, non_mated)
    allowed = metrics.allowed_false_matches(non_mated, fpir)
    refused = float(np.sort(searches.highest)[::-1][allowed])
    first = searches.own[searches.rank == 1]
    # -inf: so many were not acquired that the rest may all be false positives
    threshold = metrics.threshold_above(refused, first, searches.highest) if np.isfinite(refused) else -1.0
    return OpenPoint(
        fpir, mated, non_mated, mated - int((first >= threshold).sum()), threshold,
        int((searches.highest >= threshold).sum()),
    )  # fmt: skip


def open_curve(searches: Searches) -> tuple[Floats, Floats]:
    """FPIR (rising) and FNIR, as far as 30 false positives are left to measure by."""
    falling = np.sort(searches.highest[np.isfinite(searches.highest)])[::-1]
    counts = np.arange(FEWEST_FALSE_MATCHES, falling.size)
    first = np.sort(searches.own[searches.rank == 1])
    hits = first.size - np.searchsorted(first, falling[counts], side="right")
    return counts / max(searches.highest.size, 1), 1 - hits / searches.rank.size


def _fnir(point: OpenPoint) -> str:
    return "insufficient data" if point.fnir is None else measure(point.fnir, point.interval)


def identification_figure(results: Mapping[str, IdentificationResult]) -> Figure:
    """CMC on the left, FNIR over FPIR on the right, one colour for each model of ``results``."""
    ranked = cmc_draw({name: found.cmc() for name, found in results.items()})
    opened = open_set_draw({name: open_curve(found.searches) for name, found in results.items()})
    return figure_of([ranked, opened], LIGHT, 10, 4.5)
