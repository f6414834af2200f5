"""Every probe against every template, if the two are not the same embeddings.

Examples are a gallery, whose templates are compared with probe photos, and two models, one of which
embeds the probes and the other the templates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError
from facekd.verification import metrics
from facekd.verification.intervals import Interval
from facekd.verification.kept_scores import TAIL_SHARE, Counts, Floats, Ids, KeptScores, products, sift
from facekd.verification.score_matrix import Block, Rows, UpperTail, acquired, blocks, checked

#: the fewest non-mated scores that are kept
_SHORTEST_TAIL = 1_000_000


@dataclass(frozen=True)
class Against(KeptScores):
    """The scores of probes against templates, both of known people.

    In ``tail_people`` [K, 2] the first is the probe's person, the second the template's. ``probes`` and
    ``templates`` [P] are the numbers of each person's embeddings.
    """

    probes: Counts
    templates: Counts

    @property
    def identity_pairs(self) -> int:
        asked, enrolled = self.probes > 0, self.templates > 0
        both = int((asked & enrolled).sum())
        # two people who are both probe and template are compared twice, and nobody with themselves
        return int(asked.sum()) * int(enrolled.sum()) - both - both * (both - 1) // 2

    def compared_with_others(self) -> Counts:
        return self.probes * (self.templates.sum() - self.templates) + self.templates * (
            self.probes.sum() - self.probes
        )

    def drawn_non_mated(self, weights: Floats) -> float:
        probes, templates = weights * self.probes, weights * self.templates
        return float(probes.sum() * templates.sum() - probes @ templates)

    def curve(self) -> metrics.Roc:
        """The ROC at about a thousand of the kept scores, exact at each, over their range."""
        return self._roc(np.empty(0), np.empty(0, np.int64), self._tail_scores(self.tail.size))

    def fmr_at(self, threshold: float) -> float | None:
        """The FMR at ``threshold``; `None` if that is below the kept scores."""
        if self.tail.size < self.non_mated and threshold <= self.tail[-1]:
            return None
        return self.false_matches(threshold) / self.non_mated

    def fmr_interval(self, found: FalseMatches) -> Interval:
        """The 95 % interval of the FMR with the false matches ``found``, with people resampled."""
        probe, template = (np.bincount(side, found.counts, self.names.size) for side in found.people.T)

        def weigh(weights: Floats) -> float:
            return float(products(weights, found.people) @ found.counts)

        return self._fmr_interval(weigh, probe + template, int(found.counts.sum()))

    def mated_sizes(self) -> Counts:
        """The number of mated comparisons of each person [P]."""
        return np.bincount(self.mated_people, minlength=self.names.size)


def against(
    probes: ArrayLike,
    people: ArrayLike,
    templates: ArrayLike,
    enrolled: ArrayLike,
    same_photos: bool = False,
) -> Against:
    """Compare ``probes`` [N, D] of ``people`` [N] with ``templates`` [G, D] of ``enrolled`` [G].

    Rows have unit length; rows of NaN were not acquired and are left out. ``same_photos``: row i of
    both is the same photo, which is not compared with itself. Scores are cosines in float32.

    Raises `UsageError` if there is no mated or no non-mated comparison, shapes disagree, or values
    are not finite.
    """
    (rows, whose, place), (columns, theirs, among), names = _sides(probes, people, templates, enrolled)
    counts = [np.bincount(side, minlength=names.size) for side in (whose, theirs)]
    one, other = (side.astype(object) for side in counts)
    non_mated = int(one.sum() * other.sum() - (one * other).sum())
    if non_mated == 0:
        raise UsageError("there is no non-mated comparison: probes and templates are all of one person")

    def compared(block: Block) -> NDArray[np.bool_] | np.bool_:
        return place[block.rows, None] != among[block.columns] if same_photos else np.True_

    tail = UpperTail(max(_SHORTEST_TAIL, int(np.ceil(non_mated * TAIL_SHARE))))
    kept = sift(blocks(rows, columns), whose, theirs, compared, tail)
    if not kept[0].size:
        raise UsageError("there is no mated comparison: no probe is of a person with a template")
    return Against(*kept, non_mated, names, *counts)


@dataclass(frozen=True)
class FalseMatches:
    """The false matches at a threshold, by the two people: ``people`` [C, 2], probe and template, in
    the numbering of `Against`, the ``counts`` [C] and the ``highest`` scores [C]; ascending by people."""

    people: Ids
    counts: Counts
    highest: Floats


def false_matches(
    probes: ArrayLike, people: ArrayLike, templates: ArrayLike, enrolled: ArrayLike, threshold: float
) -> FalseMatches:
    """Who is confused with whom at ``threshold``, however low; arguments as in `against`."""
    (rows, whose, _), (columns, theirs, _), names = _sides(probes, people, templates, enrolled)
    keys, highest = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for block in blocks(rows, columns):
        probe, template = whose[block.rows], theirs[block.columns]
        found = np.flatnonzero((block.scores >= threshold) & (probe[:, None] != template))
        one, other = np.divmod(found, template.size)
        keys.append(probe[one].astype(np.int64) * names.size + template[other])
        highest.append(block.scores.ravel()[found])
    pairs, place, counts = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
    most = np.full(pairs.size, -np.inf)
    np.maximum.at(most, place, np.concatenate(highest))
    return FalseMatches(np.stack(np.divmod(pairs, names.size), axis=1).astype(np.int32), counts, most)


_Side = tuple[Rows, Ids, NDArray[np.intp]]


def _sides(
    probes: ArrayLike, people: ArrayLike, templates: ArrayLike, enrolled: ArrayLike
) -> tuple[_Side, _Side, NDArray[Any]]:
    """The acquired embeddings of probes and of templates, their people by number and their positions
    among all rows; and the labels of the people, ascending."""
    (one, whose), (other, theirs) = checked(probes, people), checked(templates, enrolled)
    if one.shape[1] != other.shape[1]:
        raise UsageError(
            f"probes {list(one.shape)} and templates {list(other.shape)} cannot be compared",
            "Both must be [N, D] with the same D.",
        )
    names, numbers = np.unique(np.concatenate([whose, theirs]), return_inverse=True)

    def side(rows: Rows, numbers: NDArray[np.intp]) -> _Side:
        there = np.flatnonzero(acquired(rows))
        return rows[there], numbers[there].astype(np.int32), there

    return side(one, numbers[: len(one)]), side(other, numbers[len(one) :]), names
